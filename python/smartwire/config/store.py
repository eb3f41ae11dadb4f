"""Configurations on disk. The newest good revision is the running one: nothing else says so, so nothing can disagree.

============================ ===================================================================================
file                         content
============================ ===================================================================================
``revisions/0000042.conf``   a header line, the configuration in braces, and a last line with the hash of all before
``rescue.conf``              the same, kept until replaced
``lists/HASH``               contents of prefix lists' files, as long as a revision refers to them
``prefix-lists/``            where the operator puts such files
``audit.log``                :mod:`smartwire.config.audit`
============================ ===================================================================================

A file is written beside its place and synced (:meth:`Store.prepare`), then renamed into place, then the directory is
synced (:meth:`Store.record`): after a crash it is whole or not there. A damaged one is put aside, and said loudly.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smartwire.config import load, text
from smartwire.config.disk import Disk, RealDisk
from smartwire.config.prefixlists import Snapshot
from smartwire.config.schema import Schema
from smartwire.config.tree import Config
from smartwire.errors import Error, NotThere

ROLLBACKS = 50
HEAD = b"# smartwire revision "
TAIL = b"# sha256 "


@dataclass(frozen=True)
class About:
    """What is known about a revision."""

    number: int
    time: float
    """Unix seconds."""
    user: str
    source: str
    """From where: the face and the terminal or address."""
    method: str = "commit"
    """commit, commit confirmed, confirm, rollback, first."""
    comment: str = ""
    confirm_by: float | None = None
    """Unix seconds at which `restore` comes back unless somebody confirms; None if there is nothing to confirm."""
    restore: int | None = None
    lists: dict[str, str] = field(default_factory=dict)
    """Hashes of the contents of prefix lists' files, by the list's name."""


@dataclass(frozen=True)
class Revision:
    """A configuration that was committed."""

    about: About
    config: Config


class Damaged(Error):
    """A file is not what was written."""


class Store:
    """The revisions in a directory.

    Args:
        directory: where; made if it is not there.
        schema: of the configurations.
        disk: the file system calls.
    """

    def __init__(self, directory: Path, schema: Schema, disk: Disk | None = None) -> None:
        self.directory, self.schema, self.disk = directory, schema, disk or RealDisk()
        self.revisions = directory / "revisions"
        self.lists = directory / "lists"
        self.prefix_lists = directory / "prefix-lists"
        self.rescue_file = directory / "rescue.conf"
        self.damage: list[str] = []
        """Sentences about what was found damaged."""
        for place in (directory, self.revisions, self.lists, self.prefix_lists):
            self.disk.mkdir(place)

    # ---- reading -------------------------------------------------------------------------------------------------

    def numbers(self) -> list[int]:
        """Numbers of the revisions there are, the newest first."""
        names = self.disk.names(self.revisions)
        return sorted((int(n[:-5]) for n in names if n.endswith(".conf") and n[:-5].isdigit()), reverse=True)

    def newest(self) -> Revision | None:
        """The newest whole revision, or None; damaged ones are put aside and named in `damage`."""
        # A process may have died between a rename and its sync: what is found is to stay found.
        self.disk.sync(self.revisions)
        for number in self.numbers():
            try:
                return self.read(number)
            except Damaged as e:
                aside = self.file(number).with_suffix(".damaged")
                self.damage.append(f"{e} It was put aside as {aside.name}, and an older configuration is used.")
                self.disk.rename(self.file(number), aside)
                self.disk.sync(self.revisions)
        return None

    def file(self, number: int) -> Path:
        """Where a revision is."""
        return self.revisions / f"{number:07}.conf"

    def read(self, number: int) -> Revision:
        """A revision.

        Raises:
            Damaged: it is not what was written.
        """
        return self._read(self.file(number))

    def rescue(self) -> Revision:
        """The rescue configuration.

        Raises:
            NotThere: none was saved.
        """
        if self.rescue_file.name not in self.disk.names(self.directory):
            raise NotThere(
                "There is no rescue configuration: save one with `request system configuration rescue save`."
            )
        return self._read(self.rescue_file)

    def rollback(self, n: int) -> Revision:
        """The n-th revision before the newest (0 is the newest).

        Raises:
            NotThere: there are not that many.
        """
        numbers = self.numbers()
        if not 0 <= n < len(numbers):
            known = f"0..{len(numbers) - 1}" if numbers else "none"
            raise NotThere(f"There is no rollback {n} (there are: {known}).")
        return self.read(numbers[n])

    def history(self) -> list[About]:
        """What is known about all revisions, the newest first; damaged ones are left out."""
        found = []
        for number in self.numbers():
            try:
                found.append(_about(self._whole(self.file(number))))
            except Damaged:
                continue
        return found

    def content(self, digest: str) -> Snapshot:
        """The content of a prefix list's file that a revision refers to.

        Raises:
            Damaged: it is gone, or not what was written.
        """
        try:
            snapshot = Snapshot.of(self.disk.read(self.lists / digest))
        except OSError as e:
            raise Damaged(f"The content {digest[:12]} of a prefix list cannot be read ({e.strerror}).") from None
        if snapshot.digest != digest:
            raise Damaged(f"The content {digest[:12]} of a prefix list is damaged.")
        return snapshot

    def operator_file(self, name: str) -> bytes:
        """The content of a file in the operator's directory of prefix lists.

        Raises:
            NotThere: it cannot be read.
        """
        try:
            return self.disk.read(self.prefix_lists / name)
        except OSError as e:
            raise NotThere(f"{self.prefix_lists / name} cannot be read ({e.strerror}).") from None

    def _whole(self, path: Path) -> bytes:
        """The content of a file of ours, without its last line, which agrees with it."""
        try:
            content = self.disk.read(path)
        except OSError as e:
            raise Damaged(f"{path} cannot be read ({e.strerror}).") from None
        inside, mark, tail = content.rpartition(TAIL)
        if not mark or not inside.startswith(HEAD) or tail.strip().decode("ascii", "replace") != _hash(inside):
            raise Damaged(f"{path} is damaged.")
        return inside

    def _read(self, path: Path) -> Revision:
        inside = self._whole(path)
        try:
            return Revision(_about(inside), load.read(self.schema, inside.decode()))
        except (Error, ValueError) as e:
            raise Damaged(f"{path} cannot be understood ({str(e).rstrip('.')}).") from None

    # ---- writing -------------------------------------------------------------------------------------------------

    def prepare(self, revision: Revision, contents: dict[str, Snapshot]) -> None:
        """Writes all that :meth:`record` will need, so that a full disk is met before anything is applied."""
        there = set(self.disk.names(self.lists))
        for snapshot in contents.values():
            if snapshot.digest not in there:
                self._put(self.lists / snapshot.digest, snapshot.content)
        if contents:  # also for those that a process left there which died before it had synced the directory
            self.disk.sync(self.lists)
        self._beside(self._draft(revision), _file(revision))

    def record(self, revision: Revision) -> None:
        """Makes a prepared revision the newest: the moment of the commit is the rename."""
        self.disk.rename(self._draft(revision), self.file(revision.about.number))
        self.disk.sync(self.revisions)

    def forget(self, revision: Revision) -> None:
        """Takes back what :meth:`prepare` wrote."""
        self.disk.unlink(self._draft(revision))

    def unrecord(self, revision: Revision) -> None:
        """Takes back a :meth:`record` that failed half way."""
        self.disk.unlink(self.file(revision.about.number))
        self.disk.sync(self.revisions)

    def save_rescue(self, revision: Revision) -> None:
        """Keeps a revision as the rescue configuration."""
        self._put(self.rescue_file, _file(revision))

    def replace_file(self, path: Path, content: bytes) -> None:
        """Makes one of the operator's files have this content."""
        self._put(path, content)

    def delete_rescue(self) -> None:
        """Forgets the rescue configuration."""
        self.disk.unlink(self.rescue_file)
        self.disk.sync(self.directory)

    def prune(self, keep: set[int]) -> None:
        """Removes revisions beyond the last ones, but none of `keep`, and contents that nothing refers to any more."""
        for number in self.numbers()[ROLLBACKS + 1 :]:
            if number not in keep:
                self.disk.unlink(self.file(number))
        needed = {digest for about in self.history() for digest in about.lists.values()}
        if self.rescue_file.name in self.disk.names(self.directory):
            try:
                needed |= set(_about(self._whole(self.rescue_file)).lists.values())
            except Damaged as e:
                self.damage.append(str(e))
        for name in self.disk.names(self.lists):
            if name not in needed:
                self.disk.unlink(self.lists / name)

    def _draft(self, revision: Revision) -> Path:
        return self.revisions / f"{revision.about.number:07}.new"

    def _beside(self, path: Path, content: bytes) -> None:
        """A file that is synced, in a place where nobody looks for it."""
        self.disk.create(path)
        self.disk.write(path, content)
        self.disk.sync(path)

    def _put(self, path: Path, content: bytes) -> None:
        """A file that is whole or not there, whatever happens."""
        draft = path.with_name(path.name + ".new")
        self._beside(draft, content)
        self.disk.rename(draft, path)
        self.disk.sync(path.parent)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file(revision: Revision) -> bytes:
    """A revision as the content of its file."""
    inside = HEAD + json.dumps(asdict(revision.about)).encode() + b"\n"
    inside += text.show(revision.config, mask=False).encode()
    return inside + TAIL + _hash(inside).encode() + b"\n"


def _about(inside: bytes) -> About:
    """The header of a file's content."""
    try:
        said: dict[str, Any] = json.loads(inside[len(HEAD) : inside.index(b"\n")])
        return About(**said)
    except (ValueError, TypeError) as e:
        raise Damaged(f"the header cannot be understood ({e})") from None
