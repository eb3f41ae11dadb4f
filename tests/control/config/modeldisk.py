"""A file system made of Python that forgets what was not synced, and can be stopped before or within any call."""

from __future__ import annotations

import errno
import random
from pathlib import Path


class Killed(BaseException):
    """The process is no more. Nothing may catch this."""


class Inode:
    """A file: what a reader sees, and what is on the medium."""

    def __init__(self) -> None:
        self.content = b""
        self.synced = b""


class ModelDisk:
    """A `Disk`. `die_at` stops it at the n-th call that changes something, `fail_at` makes that call an error."""

    def __init__(self) -> None:
        self.entries: dict[Path, dict[str, Inode]] = {}
        self.durable: dict[Path, dict[str, Inode]] = {}
        self.pending: dict[Path, list[tuple[str | None, str | None, Inode | None]]] = {}
        """Of each directory: (name that goes, name that comes, its file), in order, not yet on the medium."""
        self.calls: list[str] = []
        self.die_at = self.fail_at = 0
        self.half = False

    def _call(self, what: str) -> bool:
        """Counts a call; True if it is to stop in its middle."""
        self.calls.append(what)
        if len(self.calls) == self.fail_at:
            raise OSError(errno.ENOSPC, "No space left on device")
        if len(self.calls) == self.die_at:
            if not self.half:
                raise Killed(what)
            return True
        return False

    def _file(self, path: Path) -> Inode:
        try:
            return self.entries[path.parent][path.name]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory") from None

    def _entry(self, directory: Path, gone: str | None, come: str | None, file: Inode | None) -> None:
        self.pending[directory].append((gone, come, file))
        apply(self.entries[directory], gone, come, file)

    def read(self, path: Path) -> bytes:
        return self._file(path).content

    def names(self, directory: Path) -> list[str]:
        return sorted(self.entries.get(directory, {}))

    def mkdir(self, directory: Path) -> None:
        if directory not in self.entries:
            self.entries[directory], self.durable[directory], self.pending[directory] = {}, {}, []

    def create(self, path: Path) -> None:
        self._call(f"create {path.name}")
        if path.name in self.entries[path.parent]:
            self._file(path).content = b""
        else:
            self._entry(path.parent, None, path.name, Inode())

    def write(self, path: Path, content: bytes) -> None:
        half = self._call(f"write {path.name}")
        if path.name not in self.entries[path.parent]:
            self._entry(path.parent, None, path.name, Inode())
        self._file(path).content += content[: len(content) // 2] if half else content
        if half:
            raise Killed("within a write")

    def sync(self, path: Path) -> None:
        self._call(f"sync {path.name}")
        if path in self.entries:
            self.durable[path] = dict(self.entries[path])
            self.pending[path] = []
        else:
            file = self._file(path)
            file.synced = file.content

    def rename(self, old: Path, new: Path) -> None:
        self._call(f"rename {old.name} {new.name}")
        assert old.parent == new.parent
        self._entry(old.parent, old.name, new.name, self._file(old))

    def unlink(self, path: Path) -> None:
        self._call(f"unlink {path.name}")
        if path.name in self.entries[path.parent]:
            self._entry(path.parent, path.name, None, None)

    # ---- after the end -----------------------------------------------------------------------------------------

    def revived(self) -> ModelDisk:
        """The same, for a new process."""
        self.die_at = self.fail_at = 0
        self.half, self.calls = False, []
        return self

    def powered_off(self, chance: random.Random) -> ModelDisk:
        """What a new start finds after the power was lost: what was synced, and by chance some of what was not."""
        found = ModelDisk()
        copies: dict[int, Inode] = {}
        for directory, entries in self.durable.items():
            left = dict(entries)
            for gone, come, file in self.pending[directory]:
                if chance.random() < 0.5:
                    apply(left, gone, come, file)
            found.mkdir(directory)
            for name, file in left.items():
                copy = copies.get(id(file))
                if copy is None:
                    copy = copies[id(file)] = Inode()
                    extra = file.content[len(file.synced) :] if file.content.startswith(file.synced) else b""
                    # Of what was appended since the last sync, any part may be there, or its length without its bytes.
                    kept = extra[: chance.randint(0, len(extra))] if chance.random() < 0.5 else bytes(len(extra))
                    copy.content = copy.synced = file.synced + kept
                found.entries[directory][name] = copy
            found.durable[directory] = dict(found.entries[directory])
        return found


def apply(entries: dict[str, Inode], gone: str | None, come: str | None, file: Inode | None) -> None:
    """Carries out one change of a directory."""
    if gone is not None:
        entries.pop(gone, None)
    if come is not None and file is not None:
        entries[come] = file
