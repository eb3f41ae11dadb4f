"""What an order is about: the whole wire, a subscriber, or one connection, as a person writes it."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from smartwire.errors import UsageError

HOW = (
    "write a subscriber as 10.0.0.7 or 2001:db8:7::/64, and a connection as ACCESS:PORT-CORE:PORT, for example "
    "10.0.0.7:40000-192.0.2.1:443 or [2001:db8:7::2]:40000-[2001:db8::1]:443"
)


def parse(text: str | None) -> dict[str, object]:
    """The target as it stands in a request: {"kind": "wire"}, {"kind": "subscriber", "addr"} or {"kind": "flow", ...}.

    A subscriber given as an address within an IPv6 prefix means the subscriber of that prefix.

    Raises:
        UsageError: it is none of these, with how to write them.
    """
    if text is None:
        return {"kind": "wire"}
    halves = text.split("-")
    if len(halves) == 2:
        (access, access_port), (core, core_port) = endpoint(halves[0], text), endpoint(halves[1], text)
        if access.version != core.version:
            raise UsageError(f"{text!r} mixes IPv4 and IPv6: {HOW}.")
        return {
            "kind": "flow",
            "access_addr": str(access),
            "access_port": access_port,
            "core_addr": str(core),
            "core_port": core_port,
        }
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"{text!r} names no subscriber and no connection: {HOW}.") from None
    return {"kind": "subscriber", "addr": str(network.network_address)}


def endpoint(text: str, whole: str) -> tuple[IPv4Address | IPv6Address, int]:
    """ADDRESS:PORT, an IPv6 address in brackets."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:(\d{1,5})|([0-9.]+):(\d{1,5})", text)
    try:
        if not match:
            raise ValueError
        address, port = ip_address(match[1] or match[3]), int(match[2] or match[4])
    except ValueError:
        raise UsageError(f"{whole!r} names no subscriber and no connection: {HOW}.") from None
    if not 1 <= port <= 65535:
        raise UsageError(f"{port} is no TCP port: {HOW}.")
    return address, port


def show(access: str, access_port: int, core: str, core_port: int) -> str:
    """A connection as :func:`parse` reads it."""
    return f"{bracket(access)}:{access_port}-{bracket(core)}:{core_port}"


def bracket(address: str) -> str:
    """An IPv6 address in brackets, an IPv4 address as it is."""
    return f"[{address}]" if ":" in address else address


def within(flow: dict[str, object], target: dict[str, object], v6_prefix: int = 64) -> bool:
    """True if a connection (access_addr, access_port, core_addr, core_port) belongs to the target.

    Args:
        v6_prefix: length of a subscriber's IPv6 prefix.
    """
    if target["kind"] == "wire":
        return True
    if target["kind"] == "flow":
        return all(flow[k] == target[k] for k in ("access_addr", "access_port", "core_addr", "core_port"))
    address = ip_address(str(flow["access_addr"]))
    length = 32 if address.version == 4 else v6_prefix
    return ip_address(str(target["addr"])) in ip_network((address, length), strict=False)
