"""Smartwire: a transparent TCP optimizer, a very smart piece of wire.

The command line is `smartwire` (see `smartwire --help`); this package is the same thing for Python programs.
"""

from smartwire.errors import Error

__all__ = ["Error", "__version__"]
__version__ = "0.1.0"
