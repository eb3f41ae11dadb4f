"""Running wires: finding them, talking to them, reading their counters."""
