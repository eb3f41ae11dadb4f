"""Things inside another network namespace: sockets opened there, and TCP sockets that are there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

from smartwire.errors import Error
from smartwire.proxy.layout import KEY

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBBI48s")
"""struct inet_diag_req_v2 (linux/inet_diag.h)."""
REPLY = struct.Struct("=BBBB48sIIIII")
"""struct inet_diag_msg."""
IDENTITY = struct.Struct("!HH16s16s")
"""The beginning of struct inet_diag_sockid; the interface is behind it."""
ESTABLISHED, SYN_RECV, TIME_WAIT, CLOSE, CLOSE_WAIT, LISTEN, NEW_SYN_RECV = 1, 3, 6, 7, 8, 10, 12
ALL = (1 << NEW_SYN_RECV + 1) - 1
"""Sets of states have a bit for each (net/tcp_states.h)."""
ENDED = 1 << TIME_WAIT | 1 << CLOSE
WAITING = (ESTABLISHED, SYN_RECV, CLOSE_WAIT, NEW_SYN_RECV)
"""States of connections that nobody has accepted yet; these have no inode."""


def socket_inside(namespace: Path, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of another namespace."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # A thread of its own, which leaves with the namespace that it went into.
        try:
            with namespace.open() as there:
                if LIBC.setns(there.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(socket.socket(family, kind, protocol))
        except OSError as e:
            made.append(e)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if not made or isinstance(made[0], OSError):
        raise Error(
            f"The container's namespace {namespace.name} cannot be entered: {made[0] if made else 'it is gone'}."
        )
    return made[0]


class Sockets:
    """The TCP connections in a container.

    Args:
        namespace: path of its network namespace.
        core_ifindex: in there, the interface that connections towards the core are bound to.
    """

    def __init__(self, namespace: Path, core_ifindex: int) -> None:
        self.diag = socket_inside(namespace, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG)
        self.diag.settimeout(2.0)
        self.core_ifindex = core_ifindex
        self.lock = threading.Lock()
        """One question at a time: answers have nothing to tell them apart."""

    def keys(self) -> set[bytes]:
        """The flows (:class:`smartwire.proxy.layout.Key`, packed) that have a socket of either leg."""
        return {self._key(family, identity) for family, identity in self._list(ALL & ~(1 << LISTEN))}

    def count(self) -> int:
        """Connections, both legs, whatever their state."""
        return len(self._list(ALL & ~(1 << LISTEN)))

    def reset_all(self) -> int:
        """Ends every connection that somebody has accepted with a reset to its other end; returns how many."""
        found = self._list(ALL & ~(1 << LISTEN | ENDED), waiting=False)
        with self.lock:
            for family, identity in found:
                body = REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, ALL, identity)
                with contextlib.suppress(OSError):  # it may have ended by itself
                    self._send(SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, body)
                    self.diag.recv(1 << 16)
        return len(found)

    def close(self) -> None:
        """Lets go of the namespace."""
        self.diag.close()

    def _key(self, family: int, identity: bytes) -> bytes:
        local_port, remote_port, local, remote = IDENTITY.unpack(identity[: IDENTITY.size])
        if family == socket.AF_INET:
            local, remote = (bytes(10) + b"\xff\xff" + a[:4] for a in (local, remote))
        (interface,) = struct.unpack_from("=I", identity, IDENTITY.size)
        if interface == self.core_ifindex:
            return KEY.pack(local, remote, local_port << 16 | remote_port, 0)
        return KEY.pack(remote, local, remote_port << 16 | local_port, 0)

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self.diag.send(HEADER.pack(HEADER.size + len(body), kind, flags, 0, 0) + body)

    def _list(self, states: int, waiting: bool = True) -> list[tuple[int, bytes]]:
        """All sockets in some states: (address family, struct inet_diag_sockid); `waiting`: and those that nobody has
        accepted."""
        try:
            with self.lock:
                return [
                    (family, identity)
                    for family in (socket.AF_INET, socket.AF_INET6)
                    for state, identity, inode in self._dump(family, states)
                    if waiting or inode or state not in WAITING
                ]
        except OSError as e:
            raise Error(f"The kernel does not list the container's sockets: {e.strerror or e}.") from None

    def _dump(self, family: int, states: int) -> Iterator[tuple[int, bytes, int]]:
        self._send(
            SOCK_DIAG_BY_FAMILY,
            NLM_F_REQUEST | NLM_F_DUMP,
            REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states, bytes(48)),
        )
        while True:
            answer = self.diag.recv(1 << 18)
            at = 0
            while at < len(answer):
                length, kind, *_ = HEADER.unpack_from(answer, at)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", answer, at + HEADER.size)
                    raise OSError(-code, os.strerror(-code))
                _, state, _, _, identity, *_, inode = REPLY.unpack_from(answer, at + HEADER.size)
                yield state, identity, inode
                at += (length + 3) & ~3
