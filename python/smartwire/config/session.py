"""A session: one login of one user, with its editing mode, its place in the tree, and everything a face may ask.

Access is enforced here, on what actually changes and what is actually shown; a face can forget nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from smartwire.config import document, load, parse, text, words
from smartwire.config.access import AccessDenied, Rights, rights_of
from smartwire.config.compare import compare
from smartwire.config.engine import Candidate, Commit, CommitFailed, Engine, Who, lists_differ
from smartwire.config.merge import merge
from smartwire.config.schema import Invalid, Option, Path, Problem
from smartwire.config.tree import Config
from smartwire.errors import Error, UsageError

MODES = {
    "shared": "Edit the candidate that everybody shares",
    "private": "Edit a copy of your own",
    "exclusive": "Edit alone: nobody else can edit the shared candidate or commit",
}
FORMS: dict[str, Callable[[Config, Path], str]] = {
    "text": text.show,
    "set": text.show_set,
    "json": lambda config, path: document.to_json(document.only(config, path)),
    "xml": lambda config, path: document.to_xml(document.only(config, path)),
}
CONFIRM_MINUTES = 10


class Locked(Error):
    """Somebody else holds the configuration."""


class Conflict(CommitFailed):
    """Somebody else committed other changes to the same places; committing again applies these."""


class Ended(Error):
    """The session is over."""


class Session:
    """Made by :meth:`Engine.session`. Paths are given as typed, relative to the edit level."""

    def __init__(self, engine: Engine, who: Who) -> None:
        self.engine, self.who = engine, who
        self.mode: str | None = None
        self.since = self.active_at = engine.clock.time()
        self.touched = engine.clock.monotonic()
        self.place: Path = ()
        self.base: Config = engine.running.config
        """Of a private copy: what it was taken from."""
        self.own: Candidate | None = None
        self.warned: int | None = None
        """The running revision against which a conflict was told."""
        self.ended: str | None = None

    # ---- being there ---------------------------------------------------------------------------------------------

    @property
    def rights(self) -> Rights:
        """What the user may do by the running configuration, now."""
        return rights_of(self.engine.running.config.active(), self.who.user)

    @property
    def level(self) -> list[str]:
        """Where in the tree the session edits."""
        return list(self.place)

    def touch(self) -> None:
        """The user did something: the idle time begins anew.

        Raises:
            Ended: the session is over.
            AccessDenied: the user is no more.
        """
        self.need_alive()
        self.touched = self.engine.clock.monotonic()

    def need_alive(self) -> None:
        """As :meth:`touch`, but nobody did anything."""
        self.end_if_idle()
        if self.ended:
            raise Ended(self.ended)
        try:
            rights_of(self.engine.running.config.active(), self.who.user)
        except AccessDenied as e:
            self.close(str(e))
            raise

    def end_if_idle(self) -> None:
        """Ends the session if nothing was done for longer than ``system login idle-timeout``."""
        minutes = self.engine.running.config.active().value(("system", "login", "idle-timeout"))
        if minutes and not self.ended and self.engine.clock.monotonic() - self.touched > minutes * 60:
            self.close(f"The session ended after {minutes} minutes without input.")

    def close(self, why: str = "The session is over.") -> None:
        """Leaves; private and exclusive edits that were not committed are lost."""
        if self.ended:
            return
        self.leave()
        self.ended = why
        with self.engine.lock:
            if self in self.engine.sessions:
                self.engine.sessions.remove(self)
        self.engine.note("logout", *self.who, text=why)

    def about(self) -> dict[str, Any]:
        """Who this is, for ``show system users`` and ``status``."""
        return {"user": self.who.user, "source": self.who.source, "since": self.since, "mode": self.mode,
                "level": self.level, "idle_s": round(self.engine.clock.monotonic() - self.touched)}  # fmt: skip

    def whoami(self) -> dict[str, Any]:
        """As :meth:`about`, with what the user may do, and the name of the box."""
        rights = self.rights
        host = self.engine.running.config.active().value(("system", "host-name"))
        return self.about() | {"class": rights.name, "host_name": host, "may_configure": rights.configure}

    # ---- entering and leaving configuration mode -------------------------------------------------------------------

    def configure(self, mode: str = "shared") -> list[str]:
        """Enters configuration mode; returns what one should know, a sentence each.

        Raises:
            Locked: another session holds the configuration exclusively; it is named.
        """
        self.touch()
        if mode not in MODES:
            raise UsageError(f"{mode!r} is none of {', '.join(MODES)}.")
        rights = self.rights
        if not rights.configure:
            raise AccessDenied(f"The class {rights.name} may not edit the configuration: ask a super-user.")
        if self.mode:
            raise UsageError(f"You are editing already ({self.mode}): exit first.")
        with self.engine.lock:
            engine = self.engine
            if mode == "exclusive":
                self._need_unlocked()
                if engine.shared.config != engine.running.config:
                    raise Locked("The shared candidate has uncommitted changes: commit them, or `rollback 0`, first.")
                engine.exclusive = self
            said = [f"{s.who.user} ({s.who.source}) edits too, {s.mode}." for s in engine.sessions if s.mode]
            if engine.exclusive not in (None, self):
                said.append(self._holder())
            if mode == "shared" and engine.shared.config != engine.running.config:
                said.append("The shared candidate has uncommitted changes (`show | compare`).")
            if mode == "private":
                self.base, self.own = engine.running.config, Candidate(engine.running.config)
            self.mode, self.place, self.warned = mode, (), None
        return said

    def leave(self) -> list[str]:
        """Leaves configuration mode; returns what becomes of uncommitted edits, a sentence each."""
        if self.mode is None:
            return []
        with self.engine.lock:
            edited = bool(self.mode and self.candidate.config != self._origin())
            if self.engine.exclusive is self:
                self.engine.exclusive = None
                self.engine.shared = Candidate(self.engine.running.config)
            mode, self.mode, self.own, self.place = self.mode, None, None, ()
        if not edited:
            return []
        if mode == "shared":
            return ["The uncommitted changes stay in the shared candidate."]
        return ["The uncommitted changes were discarded."]

    def _origin(self) -> Config:
        return self.base if self.mode == "private" else self.engine.running.config

    def status(self) -> list[str]:
        """Who edits the configuration, a sentence each."""
        self.touch()
        return [
            f"{u['user']} ({u['source']}): {u['mode']}, [edit {words.join(u['level'])}]".replace(" ]", "]")
            for u in self.engine.users()
            if u["mode"]
        ]

    def _holder(self) -> str:
        holder = self.engine.exclusive
        return f"{holder.who.user} ({holder.who.source}) holds the configuration exclusively."

    def _need_unlocked(self) -> None:
        if self.engine.exclusive not in (None, self):
            raise Locked(f"{self._holder()[:-1]}: wait until it is given free.")

    # ---- the candidate -----------------------------------------------------------------------------------------------

    @property
    def candidate(self) -> Candidate:
        """What this session edits; outside configuration mode, the running configuration."""
        if self.mode is None:
            return Candidate(self.engine.running.config)
        return self.own if self.own is not None else self.engine.shared

    def _change(self, edit: Callable[[Config], Config], pinned: dict[str, str] | None = None) -> None:
        """Carries out an edit, if the user may change all that it changes."""
        self.touch()
        if self.mode is None:
            raise UsageError("This is not configuration mode: type `configure` first.")
        with self.engine.lock:
            if self.own is None:
                self._need_unlocked()
            old = self.candidate
            new = edit(old.config)
            self.rights.need_changes(old.config, new)
            new = self.engine.passwords.hash_new(new, old.config)
            after = Candidate(new, old.pinned if pinned is None else pinned)
            if self.own is not None:
                self.own = after
            else:
                self.engine.shared = after

    def _path(self, typed: str) -> Path:
        """The path that is typed, at the edit level."""
        return parse.path_of(self.engine.store.schema, self.place, words.split(typed))

    def set(self, typed: str) -> None:
        """``set``: leaves with their values, list entries."""
        said = parse.assignments(self.engine.store.schema, self.place, words.split(typed))
        self._change(lambda config: load.carry_out(config, said))

    def delete(self, typed: str = "") -> None:
        """``delete``: what is at a path, all of the level if none is given."""
        path = self._path(typed)
        self._change(lambda config: config.delete(path))

    def rename(self, typed: str, key: str) -> None:
        """``rename PATH to KEY``."""
        path = self._path(typed)
        self._change(lambda config: config.rename(path, key))

    def copy(self, typed: str, key: str) -> None:
        """``copy PATH to KEY``."""
        path = self._path(typed)
        self._change(lambda config: config.copy(path, key))

    def insert(self, typed: str, where: str, key: str) -> None:
        """``insert PATH before|after KEY``."""
        if where not in ("before", "after"):
            raise UsageError(f"{where!r} is neither before nor after.")
        path = self._path(typed)
        self._change(lambda config: config.insert(path, where, key))

    def activate(self, typed: str) -> None:
        """``activate PATH``."""
        path = self._path(typed)
        self._change(lambda config: config.activate(path))

    def deactivate(self, typed: str) -> None:
        """``deactivate PATH``."""
        path = self._path(typed)
        self._change(lambda config: config.deactivate(path))

    def annotate(self, typed: str, comment: str) -> None:
        """``annotate PATH "comment"``; an empty comment takes it away."""
        path = self._path(typed)
        self._change(lambda config: config.annotate(path, comment))

    def load(self, way: str, given: str) -> None:
        """``load merge|override|replace|set``: a text, at the edit level unless the way is override."""
        self._change(lambda config: load.load(config, way, given, () if way == "override" else self.place))

    def rollback(self, n: int | str = 0) -> None:
        """``rollback N|rescue``: the candidate becomes what was committed; 0 gives up uncommitted edits."""
        if n == 0:
            self._change(lambda config: self.engine.running.config, {})
            if self.mode == "private":
                self.base = self.engine.running.config
            return
        revision = self._revision(n)
        self._change(lambda config: revision.config, dict(revision.about.lists))

    def replace(self, config: Config) -> None:
        """The candidate becomes another configuration."""
        self._change(lambda _: config)

    def _revision(self, n: int | str) -> Any:
        if n == "rescue":
            return self.engine.store.rescue()
        if not str(n).isdigit():
            raise UsageError(f"{n!r} is no number of a rollback, nor rescue.")
        return self.engine.store.rollback(int(n))

    # ---- moving ----------------------------------------------------------------------------------------------------

    def edit(self, typed: str) -> list[str]:
        """``edit PATH``: goes there; returns the level. A list entry need not exist yet."""
        self.touch()
        path = self._path(typed)
        node, entry = self.engine.store.schema.locate(path)
        if node.is_leaf:
            raise Invalid(f"{words.join(path)} has a value, nothing below it: set it instead.")
        if node.kind == "list" and not entry and not node.inner:
            raise Invalid(f"{words.join(path)} needs a name.")
        self.place = path
        return self.level

    def up(self, count: int = 1) -> list[str]:
        """``up N``: goes to the level that encloses this one."""
        self.touch()
        for _ in range(count):
            self.place = self.place[:-1]
            while self.place and not self._is_level(self.place):
                self.place = self.place[:-1]
        return self.level

    def _is_level(self, path: Path) -> bool:
        node, entry = self.engine.store.schema.locate(path)
        return entry or node.kind == "container" or node.inner is not None

    def top(self) -> list[str]:
        """``top``."""
        self.touch()
        self.place = ()
        return self.level

    # ---- looking ---------------------------------------------------------------------------------------------------

    def show(self, typed: str = "", form: str = "text") -> str:
        """The candidate (outside configuration mode, the running configuration) at a path: text, set, json or xml."""
        self.touch()
        if form not in FORMS:
            raise UsageError(f"{form!r} is none of {', '.join(FORMS)}.")
        return FORMS[form](self.visible(self.candidate.config), self._path(typed))

    def visible(self, config: Config) -> Config:
        """A configuration as far as the user may see it."""
        rights = self.rights
        rights.need("view", ("show", "configuration"))
        return rights.visible(config)

    def compare(self, n: int | str | None = None) -> str:
        """What the candidate changes in the running configuration, or in rollback `n` (or in ``rescue``)."""
        self.touch()
        candidate = self.candidate
        if n is None:
            old, old_lists = self.engine.running.config, self.engine.setup.lists
        else:
            revision = self._revision(n)
            old = revision.config
            old_lists = {name: self.engine.store.content(d) for name, d in revision.about.lists.items()}
        lists, _ = self.engine.contents(candidate)
        return compare(self.visible(old), self.visible(candidate.config)) + lists_differ(old_lists, lists)

    def history(self) -> list[dict[str, Any]]:
        """What was committed, by whom, when and why; the newest, which is number 0, first."""
        self.touch()
        self.rights.need("view", ("show", "system", "commit"))
        return [
            {"n": n, "revision": a.number, "time": a.time, "user": a.user, "source": a.source, "method": a.method,
             "comment": a.comment}
            for n, a in enumerate(self.engine.store.history())
        ]  # fmt: skip

    # ---- committing ------------------------------------------------------------------------------------------------

    def check(self) -> list[Problem]:
        """``commit check``: all that is wrong with the candidate; it confirms a confirmed commit."""
        self.touch()
        self._need_configure()
        problems = self.engine.check(self._merged()[0])[1]
        if not any(p.severity == "error" for p in problems) and self.engine.exclusive in (None, self):
            self.engine.confirm(self.who)
        return problems

    def commit(self, comment: str = "", confirmed: float | None = None) -> Commit:
        """``commit``: the candidate becomes the running configuration.

        Args:
            comment: why, for the history.
            confirmed: minutes after which the old one comes back unless somebody commits.

        Raises:
            CommitFailed: nothing was changed; `problems` has all that is wrong.
        """
        self.touch()
        self._need_configure()
        if confirmed is not None and not 0 < confirmed <= 65535:
            raise UsageError("A commit can be confirmed within 1..65535 minutes.")
        if len(comment) > 512 or not comment.isprintable():
            raise UsageError("A comment is one line of at most 512 printable characters.")
        with self.engine.lock:
            self._need_unlocked()
            candidate, conflicts = self._merged()
            if conflicts and self.warned != self.engine.running.about.number:
                self.warned = self.engine.running.about.number
                problems = [Problem(p, "another user committed a change here.", "warning") for p in conflicts]
                raise Conflict("Others changed the same; `commit` again puts yours in place of theirs.", problems)
            self.rights.need_changes(self.engine.running.config, candidate.config)
        method = "commit" if confirmed is None else "commit confirmed"
        seconds = None if confirmed is None else confirmed * 60
        done = self.engine.commit(candidate, self.who, method, comment, seconds)
        if self.own is not None:
            self.base, self.own = self.engine.running.config, Candidate(self.engine.running.config)
        self.warned = None
        return done

    def _need_configure(self) -> None:
        if self.mode is None:
            raise UsageError("This is not configuration mode: type `configure` first.")

    def _merged(self) -> tuple[Candidate, list[Path]]:
        """(what a commit would make the running configuration, where it undoes another's commit)."""
        candidate, running = self.candidate, self.engine.running.config
        if self.own is None or running is self.base:
            return candidate, []
        config, conflicts = merge(self.base, candidate.config, running)
        return Candidate(config, candidate.pinned), conflicts

    # ---- commands --------------------------------------------------------------------------------------------------

    def run(self, line: str, by_itself: bool = False) -> dict[str, Any]:
        """An operational command (:mod:`smartwire.config.commands`): {"text": as shown, "data": as JSON}.

        Args:
            line: as typed.
            by_itself: a face redraws what it shows, and nobody typed anything: the session goes on growing idle.
        """
        from smartwire.config import commands

        if by_itself:
            self.need_alive()
        else:
            self.touch()
        return commands.run(self, line)

    def options(self, verb: str, tokens: list[str]) -> list[Option]:
        """What the last of `tokens` may become, after a verb of the configuration mode, or `run`.

        ``set`` and ``edit`` offer all that can be configured, the other verbs what is configured.
        """
        from smartwire.config import commands

        if not tokens:
            tokens = [""]
        *before, last = tokens
        if verb == "run":
            found = commands.options(self, before)
        else:
            config = self.rights.visible(self.candidate.config)
            found = config.schema.options([*self.place, *before], config.names)
            if verb == "edit":
                found = [o for o in found if o.kind not in ("leaf", "leaf-list")]
            elif verb != "set":
                found = self._existing(config, before, found)
        return [o for o in found if o.word.startswith(last) or o.word.startswith("<")]

    def _existing(self, config: Config, before: list[str], found: list[Option]) -> list[Option]:
        """Those options that name something configured."""
        here = config.get((*self.place, *before), {})
        keys = [str(k) for k in here] if isinstance(here, (dict, tuple)) else []
        if isinstance(here, tuple):
            return [Option(k, "Value", "value") for k in keys]
        return [o for o in found if o.word in keys or o.kind == "enter"]

    def need(self, permission: str, command: tuple[str, ...]) -> None:
        """Raises AccessDenied unless the user may use an operational command."""
        self.rights.need(permission, command)
