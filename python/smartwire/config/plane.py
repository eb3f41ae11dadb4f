"""What the commit engine needs of whatever it configures: wires, the proxy, exporters.

A plane is told what should be, never what to do: :meth:`Plane.apply` makes it equal to a setup, whatever it was before.
So applying, rolling back, and putting right what a crash or a hand has changed are all the same call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from smartwire.config.prefixlists import Snapshot
from smartwire.config.schema import Problem
from smartwire.config.tree import Config


@dataclass(frozen=True)
class Setup:
    """All that a plane is to be equal to."""

    config: Config
    """The active configuration."""
    lists: Mapping[str, Snapshot] = field(default_factory=dict)
    """Contents of the prefix lists that are files, by the list's name."""


class Plane(Protocol):
    """One part of the box that follows the configuration."""

    name: str
    """In an operator's words, for "... failed"."""

    def check(self, setup: Setup) -> list[Problem]:
        """What of the setup this machine cannot do, without changing anything."""

    def apply(self, setup: Setup) -> list[str]:
        """Makes the plane equal to the setup; returns sentences of what it did, for the event log.

        Raises:
            Error: it cannot be; the plane may then be anything, and is applied to again.
        """

    def differences(self, setup: Setup) -> list[str]:
        """What is not as the setup says, a sentence each; empty if all is."""
