"""The audit log: one JSON line per login, command and commit, on disk before what it tells of is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartwire.config.disk import Disk

LARGEST = 16 << 20
"""Bytes after which the log is renamed to ``audit.log.1`` and begun anew."""


class Audit:
    """Appends to the log.

    Args:
        path: the file.
        disk: the file system calls.
        clock: unix seconds.
        mirror: called with each record, for syslog; never with a secret, since records have none.
    """

    def __init__(
        self, path: Path, disk: Disk, clock: Callable[[], float], mirror: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self.path, self.disk, self.clock, self.mirror = path, disk, clock, mirror
        content = self._content()
        self.size, self.cut_off = len(content), bool(content) and not content.endswith(b"\n")

    def write(self, event: str, user: str, source: str, **facts: Any) -> None:
        """Appends a record and syncs it.

        Raises:
            OSError: it cannot be written; then what it tells of must not be done.
        """
        record = {"time": round(self.clock(), 3), "event": event, "user": user, "source": source, **facts}
        line = json.dumps(record).encode() + b"\n"
        if self.size + len(line) > LARGEST:
            self.disk.rename(self.path, self.path.with_name(self.path.name + ".1"))
            self.size, self.cut_off = 0, False
        if self.cut_off:  # a process died in the middle of a line
            line = b"\n" + line
        self.disk.write(self.path, line)
        self.disk.sync(self.path)
        if self.size == 0:
            self.disk.sync(self.path.parent)
        self.size, self.cut_off = self.size + len(line), False
        if self.mirror:
            self.mirror(record)

    def last(self, count: int = 100) -> list[dict[str, Any]]:
        """The last records, the oldest first; what a crash has cut off is left out."""
        found = []
        for line in self._content().splitlines()[-count:]:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def _content(self) -> bytes:
        try:
            return self.disk.read(self.path)
        except OSError:
            return b""
