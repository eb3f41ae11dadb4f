"""Files that somebody names on a command line."""

from __future__ import annotations

from pathlib import Path

from smartwire.errors import Error, NotThere


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        NotThere: there is none.
        Error: it cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotThere(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise Error(f"{path} cannot be read: {getattr(e, 'strerror', None) or 'it is no UTF-8 text'}.") from None
