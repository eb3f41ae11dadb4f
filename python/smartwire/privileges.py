"""Giving up every right: for processes that read what others send."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

NOBODY = "nobody"
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITIES = 64
CAP_VERSION_3 = 0x20080522
CLONE_NEWNS = 0x20000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18


def die_with_parent() -> None:
    """The kernel ends this process when the one that started it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def drop(needed: Iterable[str] = (), user: str = NOBODY) -> str:
    """Gives up every right, for good: no capability is left, and none can be had again by running something.

    Root becomes a user without rights, and leaves all groups. Where that user could not reach the Python that is still
    to be loaded (it is in root's own home, say), that alone is laid open first, for this process only: see
    :func:`uncover`. Where not even that can be done, it stays root without root's powers.

    Args:
        needed: files of modules from which more may be loaded.
        user: whom to become.

    Returns:
        What was done, for the log.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("rights are given up before there are threads: the others would keep theirs")
    libc = ctypes.CDLL(None, use_errno=True)
    said = "serving as the user that started it"
    if os.geteuid() == 0:
        needed = [str(Path(file).resolve()) for file in needed]
        if not all(open_to_all(Path(file)) for file in needed):
            uncover([file for file in (*needed, *modules()) if not open_to_all(Path(file))])
        closed = next((file for file in needed if not open_to_all(Path(file))), None)
        for capability in range(CAPABILITIES):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL above the last one
        os.setgroups([])
        if closed is None:
            who = pwd.getpwnam(user)
            os.setresgid(who.pw_gid, who.pw_gid, who.pw_gid)
            os.setresuid(who.pw_uid, who.pw_uid, who.pw_uid)
            said = f"serving as {user}"
        else:
            said = (
                f"serving as root without capabilities, since {user} could not read {closed}: install Smartwire where "
                "everybody may read it (/opt, say)"
            )
        # Also the ones that root has kept: effective, permitted and inheritable become empty.
        libc.capset(ctypes.byref((ctypes.c_uint32 * 2)(CAP_VERSION_3, 0)), ctypes.byref((ctypes.c_uint32 * 6)()))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return said


def modules() -> list[str]:
    """All places that Python may load from."""
    places = {str(Path(place).resolve()) for place in (*sys.path, sys.prefix, sys.base_prefix) if place}
    return sorted(place for place in places if Path(place).exists())


def open_to_all(path: Path) -> bool:
    """True where every directory on the way to `path` lets anyone through."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)


def uncover(paths: Iterable[str]) -> bool:
    """Lays open what is in directories that are closed to others, for this process alone; False if it may not.

    In a mount namespace of its own, an empty directory comes in the place of each closed one, with nothing in it but
    the directories of `paths`, read-only: whoever this process becomes reaches these, and nothing else of what was
    closed.
    """
    kept: dict[Path, list[Path]] = {}
    for path in map(Path, paths):
        place = path if path.is_dir() else path.parent
        closed = next(parent for parent in reversed((place, *place.parents)) if not parent.stat().st_mode & 0o001)
        kept.setdefault(closed, []).append(place)
    try:
        mount = Mounter()
        for closed, places in kept.items():
            # A place that holds another brings it along.
            alone = [p for p in set(places) if not any(q in p.parents for q in places)]
            opened = {place: os.open(place, os.O_PATH | os.O_DIRECTORY) for place in alone}
            mount("tmpfs", closed, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k")
            for place, fd in opened.items():
                place.mkdir(parents=True, exist_ok=True, mode=0o755)
                mount(f"/proc/self/fd/{fd}", place, None, MS_BIND)
                mount("none", place, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
                os.close(fd)
            mount("tmpfs", closed, None, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    except OSError:
        return False
    return True


class Mounter:
    """mount(2) in a mount namespace that this process does not share.

    Raises:
        OSError: it may not have one.
    """

    def __init__(self) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.checked(self.libc.unshare(CLONE_NEWNS))
        self("none", Path("/"), None, MS_REC | MS_PRIVATE)

    def __call__(self, source: str, target: Path, kind: str | None, flags: int, data: str | None = None) -> None:
        """Mounts, or changes what is mounted."""
        words = [word.encode() if word is not None else None for word in (source, str(target), kind, data)]
        self.checked(self.libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]))

    @staticmethod
    def checked(result: int) -> None:
        """Raises what went wrong."""
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
