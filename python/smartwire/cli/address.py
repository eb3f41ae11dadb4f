"""An address and a port as an option's value."""

from __future__ import annotations

import re
from typing import Any

import click


class Address(click.ParamType):
    """An address and a port: 127.0.0.1:9469, [::1]:9469, host; converted to (host, port).

    Args:
        port: where none is given.
    """

    name = "address"

    def __init__(self, port: int) -> None:
        self.port = port

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """(host, port)."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:\s]+))(?::(\d{1,5}))?", value)
        port = int(match[3]) if match and match[3] else self.port
        if not match or not 0 < port < 65536:
            self.fail(f"{value!r} is not an address: write it like 192.0.2.1:{self.port} or [2001:db8::1].", param, ctx)
        return match[1] or match[2], port
