"""Reports that a browser shows without anything else: one HTML file, plots as inline SVG, no script."""
