"""The file system calls that the store makes, so that a test can stop at any of them and lose what is unsynced.

Nothing else in the configuration writes to a disk.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """File system calls. All raise OSError."""

    def read(self, path: Path) -> bytes:
        """The content of a file."""

    def names(self, directory: Path) -> list[str]:
        """The names in a directory, sorted; none if it is not there."""

    def mkdir(self, directory: Path) -> None:
        """Makes a directory (mode 0700) if it is not there."""

    def create(self, path: Path) -> None:
        """Makes an empty file (mode 0600), or empties it."""

    def write(self, path: Path, content: bytes) -> None:
        """Appends to a file."""

    def sync(self, path: Path) -> None:
        """fsync of a file or of a directory."""

    def rename(self, old: Path, new: Path) -> None:
        """Renames a file over another."""

    def unlink(self, path: Path) -> None:
        """Removes a name."""


class RealDisk:
    """The machine's."""

    def read(self, path: Path) -> bytes:
        """The content of a file."""
        return path.read_bytes()

    def names(self, directory: Path) -> list[str]:
        """The names in a directory, sorted; none if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(directory))
        return []

    def mkdir(self, directory: Path) -> None:
        """Makes a directory (mode 0700) if it is not there."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)

    def create(self, path: Path) -> None:
        """Makes an empty file (mode 0600), or empties it."""
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))

    def write(self, path: Path, content: bytes) -> None:
        """Appends to a file."""
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            while content:
                content = content[os.write(file, content) :]
        finally:
            os.close(file)

    def sync(self, path: Path) -> None:
        """fsync of a file or of a directory."""
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)

    def rename(self, old: Path, new: Path) -> None:
        """Renames a file over another."""
        old.rename(new)

    def unlink(self, path: Path) -> None:
        """Removes a name."""
        path.unlink(missing_ok=True)
