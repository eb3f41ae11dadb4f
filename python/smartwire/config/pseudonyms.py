"""Names for subscribers in what leaves the box: a keyed hash, the same for the same subscriber, and for nobody to undo.

The key is made once and stays on the box, so two archives of one box can be compared, and those of two cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

from smartwire.config import text
from smartwire.config.tree import Config

KEY_BYTES = 32
V4 = r"\d{1,3}(?:\.\d{1,3}){3}"
ADDRESS = re.compile(
    rf"(?<![\w.:])(?:[0-9A-Fa-f]{{0,4}}:[0-9A-Fa-f:]*:(?:{V4}|[0-9A-Fa-f]{{0,4}})(?![\w:])|{V4}(?!\w|\.\d))"
)


def key(directory: Path) -> bytes:
    """The box's key."""
    file = directory / "pseudonyms.key"
    if not file.exists():
        draft = file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(os.urandom(KEY_BYTES))
        draft.replace(file)
    return file.read_bytes()


def pseudonym(secret: bytes, address: str, v6_prefix: int = 64) -> str:
    """What a subscriber is called instead of its address; an IPv6 subscriber is a prefix of so many bits."""
    ip = ip_address(address)
    network = ip_network((ip, 32 if ip.version == 4 else v6_prefix), strict=False)
    return f"subscriber-{hmac.new(secret, str(network).encode(), hashlib.sha256).hexdigest()[:16]}"


def hider(config: Config, directory: Path) -> Callable[[str], str]:
    """Replaces addresses in a text, as ``subscribers hash-in-exports`` says; those of the configuration stay.

    Args:
        config: the active configuration.
        directory: where the key is.
    """
    if not config.value(("subscribers", "hash-in-exports")):
        return lambda given: given
    secret, bits = key(directory), config.value(("subscribers", "identification", "ipv6-prefix-length"))
    configured = set(ADDRESS.findall(text.show(config)))

    def replaced(found: re.Match[str]) -> str:
        try:
            ip = ip_address(found[0])
        except ValueError:
            return found[0]
        known = found[0] in configured or ip.is_loopback or ip.is_unspecified
        return found[0] if known else pseudonym(secret, found[0], bits)

    return lambda given: ADDRESS.sub(replaced, given)
