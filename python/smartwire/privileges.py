"""Giving up every right: for processes that read what others send."""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
from collections.abc import Iterable
from pathlib import Path

NOBODY = "nobody"
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITIES = 64
CAP_VERSION_3 = 0x20080522


def die_with_parent() -> None:
    """The kernel ends this process when the one that started it dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def drop(needed: Iterable[str] = (), user: str = NOBODY) -> str:
    """Gives up every right, for good: no capability is left, and none can be had again by running something.

    Root becomes a user without rights, and leaves all groups, unless that user could not read what is still needed: an
    interpreter in root's own home, say. Then it stays root without root's powers, which can still read root's files.

    Args:
        needed: files of modules from which more may be loaded.
        user: whom to become.

    Returns:
        What was done, for the log.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    said = "serving as the user that started it"
    if os.geteuid() == 0:
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
            said = f"serving as root without capabilities: {user} could not read {closed}"
        # Also the ones that root has kept: effective, permitted and inheritable become empty.
        libc.capset(ctypes.byref((ctypes.c_uint32 * 2)(CAP_VERSION_3, 0)), ctypes.byref((ctypes.c_uint32 * 6)()))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return said


def open_to_all(path: Path) -> bool:
    """True where every directory on the way to `path` lets anyone through."""
    return all(parent.stat().st_mode & 0o001 for parent in path.resolve().parents)
