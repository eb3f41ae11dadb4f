"""What the lab says while it works: a bar on a terminal, and a line for each step that is done."""

from __future__ import annotations

import time

import click

from smartwire.cli.output import Progress


class Story(Progress):
    """Progress by planned time; everything goes to standard error.

    Args:
        what: shown first.
        seconds: that all steps will take.
    """

    def __init__(self, what: str, seconds: float, quiet: bool = False) -> None:
        super().__init__(what, max(1.0, seconds), quiet)
        self.quiet = quiet
        self.done = 0.0
        self.began = time.monotonic()
        self.step_began, self.step_seconds, self.title = self.began, 0.0, what

    def step(self, title: str, seconds: float) -> None:
        """The next step begins; the one before counts as done."""
        self.done += self.step_seconds
        self.step_began, self.step_seconds, self.title = time.monotonic(), seconds, title
        self.tick()

    def tick(self, tick: dict | None = None) -> None:
        """Moves the bar; ``tick`` is what the phone's client said last."""
        text = self.title
        if tick:
            rtt = f", echo {tick['rtt_ms']:,.0f} ms" if tick.get("rtt_ms") is not None else ""
            text += f": {tick['mbps']:.1f} Mbit/s{rtt}"
        spent = min(time.monotonic() - self.step_began, self.step_seconds)
        self.at(self.done + spent, text)

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        if self.quiet:
            return
        if self.bar:
            self.bar.console.print(line, highlight=False, markup=False, soft_wrap=True)
        else:
            click.echo(line, err=True)
