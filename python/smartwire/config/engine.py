"""The commit engine: owns the running configuration, the shared candidate and the planes.

A commit is check, prepare, apply, record. Until the record, the old configuration is the one on disk: whatever stops
the process before, the next start finds the old one and makes the planes equal to it. A commit that must be confirmed
says so in its own revision, with its deadline. Confirming it, or restoring the old one, is one more revision.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from smartwire.config import checks, prefixlists
from smartwire.config.access import Passwords, rights_of
from smartwire.config.audit import Audit
from smartwire.config.compare import compare
from smartwire.config.merge import merge
from smartwire.config.plane import Plane, Setup
from smartwire.config.prefixlists import Snapshot
from smartwire.config.schema import Problem
from smartwire.config.store import About, Revision, Store
from smartwire.config.tree import Config
from smartwire.errors import Error, NotThere

DAEMON = "smartwired"
NOT_CONFIRMED = "Commit was not confirmed; automatic rollback complete."


class Clock(Protocol):
    """The time, for the engine."""

    def time(self) -> float:
        """Unix seconds."""

    def monotonic(self) -> float:
        """Seconds that no clock step changes."""


class CommitFailed(Error):
    """Nothing was changed."""

    def __init__(self, sentence: str, problems: Iterable[Problem] = ()) -> None:
        self.problems = list(problems)
        super().__init__(sentence)


class Who(NamedTuple):
    """On whose behalf something is done."""

    user: str
    source: str


class Candidate(NamedTuple):
    """A configuration that is to become the running one."""

    config: Config
    pinned: dict[str, str] = {}  # noqa: RUF012 - never changed
    """Hashes of prefix lists' contents that a rollback brought back; other lists are what their files say now."""


@dataclass
class Commit:
    """What came of a commit."""

    number: int
    warnings: list[Problem] = field(default_factory=list)
    confirm_within: float | None = None
    """Seconds in which it must be confirmed."""
    done: list[str] = field(default_factory=list)
    """What the planes did, in sentences."""


class Engine:
    """Call :meth:`start` before anything else, and :meth:`tick` about once a second.

    Args:
        store: where configurations are.
        planes: what follows the configuration, in the order in which it is applied.
        clock: the time.
        tell: called with sentences that everybody who is logged in should read.
        log: called with sentences about what commits did.
        passwords: how passwords are hashed.
        mirror: called with each record of the audit log.
    """

    def __init__(
        self,
        store: Store,
        planes: Iterable[Plane],
        clock: Clock = time,  # type: ignore[assignment]
        tell: Callable[[str], None] | None = None,
        passwords: Passwords | None = None,
        mirror: Callable[[dict[str, Any]], None] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        self.store, self.planes, self.clock = store, list(planes), clock
        self.tell = tell or (lambda sentence: None)
        self.log = log or (lambda sentence: None)
        lockouts = store.directory / "lockouts.json"
        self.passwords = passwords or Passwords(clock.monotonic, file=lockouts, wall=clock.time)
        self.audit = Audit(store.directory / "audit.log", store.disk, clock.time, mirror)
        self.checker = prefixlists.Checker()
        self.lock = threading.RLock()
        """Held while the fields below change, never while planes are applied to."""
        self.committing = threading.Lock()
        self.committer: Who | None = None
        self.running: Revision
        self.setup: Setup
        self.shared: Candidate
        self.sessions: list[Any] = []
        self.exclusive: Any = None
        """The session that holds the configuration exclusively."""
        self.confirm_at: float | None = None
        """Monotonic seconds at which an unconfirmed commit is undone."""
        self.next_number = 1
        self.begin_anew: Callable[[], None] = lambda: None
        """Ends smartwired's process and starts it again, soon."""

    # ---- starting ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Finds the running configuration on disk, or a first one, and makes the planes equal to it."""
        self.next_number = max(self.store.numbers(), default=0) + 1
        found = self.store.newest()
        fresh = found is None
        if found is None:
            found = self._first()
        with self.lock:
            self._become(found)
            self.shared = Candidate(found.config)
        for sentence in self.store.damage:
            self.note("damage", DAEMON, "", text=sentence)
            self.tell(sentence)
        if fresh:
            self.store.prepare(found, dict(self.setup.lists))
            self.store.record(found)
        if self.confirm_at is not None and self.clock.monotonic() >= self.confirm_at:
            self.restore()
        else:
            for sentence in self.reconcile():
                self.log(sentence)

    def _first(self) -> Revision:
        """What counts where there is no whole revision: the rescue configuration, else an empty one."""
        about = About(self.next_number, self.clock.time(), DAEMON, "", "first")
        self.next_number += 1
        try:
            rescue = self.store.rescue()
        except NotThere:
            return Revision(about, Config(self.store.schema))
        except Error as e:
            self.store.damage.append(str(e))
            return Revision(about, Config(self.store.schema))
        self.store.damage.append("The rescue configuration is used, since there is no other.")
        return Revision(replace(about, comment="rescue", lists=rescue.about.lists), rescue.config)

    def _become(self, revision: Revision, lists: dict[str, Snapshot] | None = None) -> None:
        """Makes a revision the running one, in memory."""
        about = revision.about
        if lists is None:
            lists = {}
            for name, digest in about.lists.items():
                try:
                    lists[name] = self.store.content(digest)
                except Error as e:
                    self.store.damage.append(f"{e} The list {name} is empty until the next commit.")
        self.running = revision
        self.setup = Setup(revision.config.active(), lists)
        self.confirm_at = None
        if about.confirm_by is not None:
            # The clock may have been set back since: never wait longer than was asked for.
            left = min(about.confirm_by - self.clock.time(), about.confirm_by - about.time)
            self.confirm_at = self.clock.monotonic() + left

    # ---- checking ------------------------------------------------------------------------------------------------

    def check(self, candidate: Candidate) -> tuple[Setup, list[Problem]]:
        """(what the planes would be told, all that is wrong or without effect)."""
        found = checks.problems(candidate.config)
        config = candidate.config.active()
        lists, bad = self.contents(candidate)
        found += bad
        for name, snapshot in lists.items():
            file = config.get(("prefix-lists", name, "file"))
            sentences = self.checker.sentences(snapshot)
            found += [Problem(("prefix-lists", name, "file"), f"{file}: {s}") for s in sentences]
        setup = Setup(config, lists)
        if not any(p.severity == "error" for p in found):
            for plane in self.planes:
                found += plane.check(setup)
        return setup, sorted(found, key=lambda p: p.severity != "error")

    def contents(self, candidate: Candidate) -> tuple[dict[str, Snapshot], list[Problem]]:
        """(contents of the prefix lists that are files, those that cannot be read)."""
        found: dict[str, Snapshot] = {}
        bad: list[Problem] = []
        for name, entry in candidate.config.active().get(("prefix-lists",), {}).items():
            if "file" not in entry:
                continue
            path = ("prefix-lists", name, "file")
            try:
                if name in candidate.pinned:
                    found[name] = self.store.content(candidate.pinned[name])
                else:
                    found[name] = Snapshot.of(self.store.operator_file(entry["file"]))
            except Error as e:
                bad.append(Problem(path, str(e)))
        return found, bad

    # ---- committing ----------------------------------------------------------------------------------------------

    def commit(
        self, candidate: Candidate, who: Who, method: str = "commit", comment: str = "", confirmed: float | None = None
    ) -> Commit:
        """Makes a candidate the running configuration, everywhere or nowhere.

        Args:
            candidate: what is to be.
            who: on whose behalf.
            method: for the history.
            comment: for the history.
            confirmed: seconds in which it must be confirmed.

        Raises:
            CommitFailed: with every problem, or with what failed; all is as it was.
        """
        self._begin()
        try:
            self.committer = who
            setup, problems = self.check(candidate)
            if errors := [p for p in problems if p.severity == "error"]:
                raise CommitFailed(f"commit failed: {_count(len(errors))}.", problems)
            revision = self._revision(candidate, setup, who, method, comment, confirmed)
            done = self._carry_out(revision, setup)
            for sentence in (f"configuration {revision.about.number} by {who.user}: {method}", *done):
                self.log(sentence)
            return Commit(revision.about.number, problems, confirmed, done)
        finally:
            self.committer = None
            self.committing.release()

    def _begin(self) -> None:
        """Takes the right to apply to the planes; waits while they are only being put right."""
        while not self.committing.acquire(timeout=0.1):
            if holder := self.committer:
                raise CommitFailed(f"{holder.user} is committing: try again when that is done.")

    def _revision(
        self, candidate: Candidate, setup: Setup, who: Who, method: str, comment: str, confirmed: float | None
    ) -> Revision:
        """The next revision, not yet recorded."""
        now = self.clock.time()
        about = About(
            self.next_number, now, who.user, who.source, method, comment,
            lists={name: s.digest for name, s in setup.lists.items()},
        )  # fmt: skip
        if confirmed is not None:
            running = self.running.about
            # An unconfirmed commit under an unconfirmed one: what comes back is the last that was confirmed.
            back = running.restore if running.restore is not None else running.number
            about = replace(about, confirm_by=now + confirmed, restore=back)
        return Revision(about, candidate.config)

    def _carry_out(self, revision: Revision, setup: Setup) -> list[str]:
        """Log, prepare, apply, record; or all as it was."""
        about = revision.about
        try:
            self.audit.write(
                about.method, about.user, about.source, revision=about.number, comment=about.comment,
                text=self.compare_setups(self.running, self.setup, revision, setup),
            )  # fmt: skip
            self.store.prepare(revision, dict(setup.lists))
        except OSError as e:
            self._forget(revision)
            raise CommitFailed(
                f"commit failed: the disk does not take it ({e.strerror}); nothing was changed."
            ) from None
        done = self._apply(revision, setup)
        try:
            self.store.record(revision)
        except OSError as e:
            back = self._unrecord(revision) + self._undo(self.planes)
            raise CommitFailed(self._failed(about, f"the disk does not take it ({e.strerror})", back)) from None
        self.next_number += 1
        self._publish(revision, setup)
        return done

    def _apply(self, revision: Revision, setup: Setup) -> list[str]:
        """Applies to plane after plane; if one fails, all get the old setup back."""
        done: list[str] = []
        for number, plane in enumerate(self.planes):
            try:
                done += plane.apply(setup)
            except Exception as e:
                what = str(e) if isinstance(e, (Error, OSError)) else f"internal error: {type(e).__name__}: {e}"
                self._forget(revision)
                back = self._undo(self.planes[: number + 1])
                sentence = self._failed(revision.about, f"{plane.name}: {what.rstrip('.')}", back)
                raise CommitFailed(sentence) from None
        return done

    def _undo(self, planes: list[Plane]) -> list[str]:
        """Applies the running setup again, the last plane first; returns what did not succeed."""
        failed = []
        for plane in reversed(planes):
            try:
                plane.apply(self.setup)
            except Exception as e:
                failed.append(f"{plane.name} could not be set back ({str(e).rstrip('.')}); it is tried again")
        return failed

    def _failed(self, about: About, what: str, back: list[str]) -> str:
        """What is said, and logged, about a commit that failed."""
        rest = "; ".join(back) if back else "all is as it was"
        sentence = f"commit failed: {what}; {rest}."
        self.note("failed", about.user, about.source, revision=about.number, text=sentence)
        return sentence

    def _forget(self, revision: Revision) -> None:
        try:
            self.store.forget(revision)
        except OSError:
            return  # a draft that stays is overwritten by the next commit

    def _unrecord(self, revision: Revision) -> list[str]:
        """After a record that failed half way: the revision must not be found by the next start."""
        try:
            self.store.unrecord(revision)
        except OSError:
            return ["the new configuration may come back at the next start, since the disk fails"]
        return []

    def _publish(self, revision: Revision, setup: Setup) -> None:
        """The new configuration is the running one, for everybody."""
        with self.lock:
            old = self.running.config
            self._become(revision, dict(setup.lists))
            shared, _ = merge(old, self.shared.config, revision.config)
            self.shared = Candidate(shared, self.shared.pinned if shared != revision.config else {})
        keep = {revision.about.restore} if revision.about.restore is not None else set()
        try:
            self.store.prune(keep)
        except OSError as e:
            self.tell(f"Old configurations could not be removed ({e.strerror}).")

    # ---- confirming ----------------------------------------------------------------------------------------------

    def confirm(self, who: Who) -> Commit | None:
        """Keeps the running configuration for good; None if there was nothing to confirm."""
        if self.confirm_at is None:
            return None
        return self.commit(Candidate(self.running.config, self.running.about.lists), who, "confirm")

    def tick(self) -> None:
        """What time brings: unconfirmed commits and idle sessions end."""
        if self.confirm_at is not None and self.clock.monotonic() >= self.confirm_at:
            self.restore()
        for session in list(self.sessions):
            session.end_if_idle()

    def restore(self) -> None:
        """Brings back what an unconfirmed commit replaced."""
        number = self.running.about.restore
        try:
            assert number is not None
            old = self.store.read(number)
            self.commit(Candidate(old.config, old.about.lists), Who(DAEMON, ""), "rollback", NOT_CONFIRMED)
        except Error as e:
            # Tried again in a minute: a disk may have space by then, a plane may have recovered.
            self.confirm_at = self.clock.monotonic() + 60
            self.tell(f"Commit was not confirmed, and the rollback failed: {e}")
            return
        self.tell(NOT_CONFIRMED)

    # ---- keeping the planes equal ----------------------------------------------------------------------------------

    def reconcile(self) -> list[str]:
        """Makes the planes equal to the running configuration; returns what differed and what was done."""
        if not self.committing.acquire(blocking=False):
            return []  # a commit is at it
        said: list[str] = []
        try:
            for plane in self.planes:
                try:
                    if differs := plane.differences(self.setup):
                        said += differs
                        said += plane.apply(self.setup)
                except Exception as e:
                    said.append(f"{plane.name} could not be made as configured: {str(e).rstrip('.')}.")
        finally:
            self.committing.release()
        return said

    # ---- looking ---------------------------------------------------------------------------------------------------

    def compare_setups(self, old: Revision, old_setup: Setup, new: Revision, new_setup: Setup) -> str:
        """``show | compare`` with what changed in the contents of prefix lists."""
        return compare(old.config, new.config) + lists_differ(old_setup.lists, new_setup.lists)

    def note(self, event: str, user: str, source: str, **facts: Any) -> None:
        """Writes to the audit log what is done all the same if that fails: nobody is locked out by a full disk."""
        try:
            self.audit.write(event, user, source, **facts)
        except OSError as e:
            self.tell(f"The audit log cannot be written ({e.strerror}): {event} by {user or 'nobody'}.")

    def users(self) -> list[dict[str, Any]]:
        """Who is logged in, and who edits how."""
        with self.lock:
            return [s.about() for s in self.sessions]

    def session(self, user: str, source: str) -> Any:
        """Logs a user in whose identity is known; see :meth:`login`.

        Raises:
            AccessDenied: there is no such user.
        """
        from smartwire.config.session import Session

        rights_of(self.running.config.active(), user)
        self.note("login", user, source)
        session = Session(self, Who(user, source))
        with self.lock:
            self.sessions.append(session)
        return session

    def login(self, user: str, password: str, source: str) -> Any:
        """Logs a user in by password.

        Raises:
            AccessDenied: the user or the password is wrong, or the account is locked.
        """
        try:
            self.passwords.verify(self.running.config.active(), user, password)
        except Error as e:
            self.note("login refused", user, source, text=str(e))
            raise
        return self.session(user, source)


def lists_differ(old: Any, new: Any) -> str:
    """What changed in the contents of prefix lists, a section each."""
    text = ""
    for name in dict.fromkeys((*old, *new)):
        a, b = old.get(name), new.get(name)
        if a and b and a.digest != b.digest:
            before, after = set(prefixlists.prefixes(a.content)), set(prefixlists.prefixes(b.content))
            text += f"[edit prefix-lists {name}]\n"
            text += f"!   file; ## +{len(after - before)} -{len(before - after)} prefixes, content {b.digest[:12]}\n"
    return text


def _count(number: int) -> str:
    return "there is one problem" if number == 1 else f"there are {number} problems"
