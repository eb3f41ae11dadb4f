"""Who may do what: classes, rights, passwords, lockout. Asked by the engine in one place, never by a face."""

from __future__ import annotations

import contextlib
import json
import pathlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from smartwire.config import words
from smartwire.config.merge import changed
from smartwire.config.schema import Path
from smartwire.config.tree import Config
from smartwire.errors import Error

HASHED = "$argon2"
ROOT = "root"
LONGEST_LOCK_S = 1440 * 60


class AccessDenied(Error):
    """The user may not do that, or is not who they say."""


@dataclass(frozen=True)
class Rights:
    """What users of a class may do."""

    name: str
    view: bool = False
    operate: bool = False
    configure: bool = False
    everything: bool = False
    """All configuration, all commands, users included."""
    allow: tuple[Path, ...] = ()
    deny: tuple[Path, ...] = ()
    deny_commands: tuple[tuple[str, ...], ...] = ()
    hide_subscribers: bool = False

    def may_change(self, path: Path) -> bool:
        """True if what is at the path may be changed."""
        if self.everything:
            return True
        return self.configure and _under(path, self.allow) and not _under(path, self.deny)

    def need(self, permission: str, command: tuple[str, ...]) -> None:
        """Raises AccessDenied unless users of the class may use an operational command.

        Args:
            permission: view, operate or everything.
            command: its words.
        """
        if self.everything:
            return
        if not getattr(self, permission) or any(command[: len(c)] == c for c in self.deny_commands):
            raise AccessDenied(f"The class {self.name} does not allow `{' '.join(command)}`: ask a super-user.")

    def need_subscribers(self, match: object) -> None:
        """Raises AccessDenied if something is asked of certain subscribers whom the class must not know."""
        if match is not None and self.hide_subscribers:
            raise AccessDenied(f"The class {self.name} does not see subscribers: ask without one.")

    def need_changes(self, old: Config, new: Config) -> None:
        """Raises AccessDenied, naming the first path, unless all that differs may be changed."""
        if self.everything:
            return
        for path in changed(old, new):
            if not self.may_change(path):
                raise AccessDenied(f"The class {self.name} may not change {words.join(path)}: ask a super-user.")

    def visible(self, config: Config) -> Config:
        """The configuration without what the class must not see."""
        for path in () if self.everything else self.deny:
            if config.has(path):
                config = config.delete(path)
        return config


def _under(path: Path, tops: tuple[Path, ...]) -> bool:
    return any(path[: len(top)] == top for top in tops)


BUILT_IN = {
    "super-user": Rights("super-user", view=True, operate=True, configure=True, everything=True),
    "operator": Rights("operator", view=True, operate=True),
    "read-only": Rights("read-only", view=True),
}


def rights_of(config: Config, user: str) -> Rights:
    """What a user may do by the running configuration; root may do everything.

    Raises:
        AccessDenied: there is no such user.
    """
    if user == ROOT:
        return BUILT_IN["super-user"]
    name = config.get(("system", "login", "user", user, "class"))
    if name in BUILT_IN:
        return BUILT_IN[name]
    entry = config.get(("system", "login", "class", name)) if name else None
    if entry is None:
        raise AccessDenied(f"There is no user {user}.")
    may = entry.get("permission", ())
    return Rights(
        name,
        view="view" in may,
        operate="operate" in may,
        configure="configure" in may,
        allow=tuple(tuple(words.split(t)) for t in entry.get("allow-configuration", ())),
        deny=tuple(tuple(words.split(t)) for t in entry.get("deny-configuration", ())),
        deny_commands=tuple(tuple(words.split(t)) for t in entry.get("deny-command", ())),
        hide_subscribers=entry.get("hide-subscribers", False),
    )


@dataclass
class _Tries:
    wrong: int = 0
    until: float = 0.0


@dataclass
class Passwords:
    """Hashes and verifies passwords, and locks accounts after wrong ones.

    Args:
        clock: monotonic seconds.
        hasher: argon2's; tests give a cheap one.
        file: where wrong tries are kept over restarts; None for nowhere.
        wall: unix seconds.
    """

    clock: Callable[[], float]
    hasher: PasswordHasher = field(default_factory=PasswordHasher)
    tries: dict[str, _Tries] = field(default_factory=dict)
    file: pathlib.Path | None = None
    wall: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        """Takes up what is on disk; a file that cannot be read locks nobody."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            if self.file:
                for user, (wrong, until) in json.loads(self.file.read_text()).items():
                    # A clock that was set back must not lock anybody for longer than can be configured.
                    left = min(float(until) - self.wall(), LONGEST_LOCK_S)
                    self.tries[str(user)] = _Tries(int(wrong), self.clock() + left)

    def keep(self) -> None:
        """Writes down who has tried wrongly; who may log in is not kept waiting by a disk that is full."""
        if not self.file:
            return
        kept = {user: (t.wrong, self.wall() + t.until - self.clock()) for user, t in self.tries.items()
                if t.wrong or t.until > self.clock()}  # fmt: skip
        draft = self.file.with_suffix(".new")
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(kept))
            draft.chmod(0o600)
            draft.replace(self.file)

    def hash_new(self, config: Config, old: Config) -> Config:
        """The configuration with every password that was given in clear replaced by its hash."""
        for path in changed(old, config):
            if not config.has(path) or not config.schema.find(path).password:
                continue
            given = config.get(path)
            if isinstance(given, str) and not given.startswith(HASHED):
                config = config.set(path, self.hasher.hash(given))
        return config

    def verify(self, config: Config, user: str, password: str) -> None:
        """Raises AccessDenied unless the password is the user's; the sentence does not say what was wrong."""
        tries = self.tries.setdefault(user, _Tries()) if user in config.names(("system", "login", "user")) else _Tries()
        if self.clock() < tries.until:
            minutes = max(1, round((tries.until - self.clock()) / 60))
            raise AccessDenied(f"Too many wrong passwords: {user} is locked for {minutes} more minutes.")
        kept = config.get(("system", "login", "user", user, "password"))
        try:
            # Also without a hash to compare with, so that the time does not tell who exists.
            self.hasher.verify(kept or self._nobody(), password)
            if kept:
                if tries.wrong:
                    tries.wrong = 0
                    self.keep()
                return
        except (VerificationError, InvalidHashError):
            pass
        tries.wrong += 1
        if tries.wrong >= config.value(("system", "login", "lockout", "attempts")):
            tries.wrong = 0
            tries.until = self.clock() + 60 * config.value(("system", "login", "lockout", "minutes"))
        if user in self.tries:
            self.keep()
        raise AccessDenied("The user or the password is wrong.")

    def unlock(self, user: str) -> bool:
        """Ends a lock; False if there was none."""
        was = self.clock() < self.tries.pop(user, _Tries()).until
        self.keep()
        return was

    def _nobody(self) -> str:
        if not hasattr(self, "_decoy"):
            self._decoy = self.hasher.hash("nobody's")
        return self._decoy
