"""The shell: two modes, as Junos has them, over a session of the configuration engine. No terminal is needed here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from smartwire.config.words import Word, closed, scan
from smartwire.shell import configure, grammar, operational, pipes
from smartwire.shell.grammar import Choice, Completion, Keywords, Mistake, State
from smartwire.shell.pipes import Answer
from smartwire.shell.words import join, stages


class Left(Exception):
    """The operator has left the shell."""


class Shell:
    """One operator's command line.

    Args:
        session: a :class:`smartwire.config.session.Session`, or its like on the other side of a socket.
        user: who is logged in.
        host: tells the name of the box.
        ask: shows a question and tells whether the answer was yes.
        read: shows a line and returns what was typed until ^D.
    """

    def __init__(
        self,
        session: Any,
        user: str,
        host: Callable[[], str],
        ask: Callable[[str], bool] = lambda question: True,
        read: Callable[[str], str] = lambda invitation: "",
    ) -> None:
        self.session = session
        self.user = user
        self.host = host
        self.ask = ask
        self.read = read
        self.configuring = False
        self.mode = "shared"
        self.trail: list[list[str]] = []
        """The levels to come back to by `exit`."""

    # ---- what is shown -------------------------------------------------------------------------------------------

    @property
    def prompt(self) -> str:
        """The last line of the prompt."""
        return f"{self.user}@{self.host()}{'#' if self.configuring else '>'} "

    @property
    def banner(self) -> str:
        """The line above the prompt; empty in operational mode."""
        return f"[edit{' ' * bool(self.session.level)}{join(self.session.level)}]" if self.configuring else ""

    # ---- running and completing ----------------------------------------------------------------------------------

    def run(self, line: str) -> Answer:
        """Does what a line says.

        Raises:
            Mistake: with the place of the word that does not fit.
            Left: the shell ends.
            Error: whatever the command raises.
        """
        words = scan(line)
        if not words or line.lstrip().startswith("#"):
            return Answer()
        closed(words)
        first, *rest = stages(words)
        filters = [self.filter(stage, line) for stage in rest]
        with self.elsewhere(first) as left:
            place = grammar.follow(self.root(), left)
            if not place.ends:
                raise Mistake(f"More is needed. Expected: {expected(place)}.", len(line.rstrip()) + 1)
            answer = place.run()
        answer = answer if isinstance(answer, Answer) else Answer(str(answer or ""))
        for change in filters:
            answer = change(answer)
        return answer

    def complete(self, line: str) -> Completion:
        """What may come at the end of a line (up to the cursor); raises Mistake or another Error."""
        *before, last = stages(scan(line))
        if before:
            found = grammar.complete(Keywords(pipes.PIPES), last, line)
            return found
        with self.elsewhere(last) as left:
            found = grammar.complete(self.root(), left, line)
        if found.ends:
            found.choices.append(Choice("|", "Pass the answer through a filter"))
        return found

    def filter(self, stage: list[Word], line: str) -> pipes.Filter:
        """What one pipe does."""
        if not stage:
            raise Mistake(f"A | needs what follows it: {expected(Keywords(pipes.PIPES))}.", len(line))
        place = grammar.follow(Keywords(pipes.PIPES), stage)
        if not place.ends:
            raise Mistake(f"The pipe needs more: {expected(place)}.", stage[-1].end + 1)
        return place.run()

    def root(self) -> State:
        """What a line may begin with in this mode."""
        return configure.verbs(self) if self.configuring else self.operational()

    def operational(self) -> State:
        """Operational commands."""
        return operational.Commands(self)

    # ---- moving --------------------------------------------------------------------------------------------------

    def enter(self, mode: str) -> Answer:
        """Enters configuration mode."""
        said = self.session.configure(mode)
        self.configuring, self.mode, self.trail = True, mode, []
        return Answer("\n".join(["Entering configuration mode", *said]))

    def leave(self) -> Answer:
        """Leaves configuration mode; asks first where edits would be lost."""
        lost = self.mode != "shared" and self.session.compare()
        if lost and not self.ask("Uncommitted changes will be discarded. Leave? [yes,no] (no) "):
            return Answer()
        said = self.session.leave()
        self.configuring = False
        return Answer("\n".join([*said, "Exiting configuration mode"]))

    def quit(self) -> Answer:
        """Ends the shell."""
        self.session.close()
        raise Left

    def edit(self, path: str) -> None:
        """Goes to a level, from which `exit` comes back here."""
        home = list(self.session.level)
        self.session.edit(path)
        self.trail.append(home)

    def back(self) -> Answer:
        """To the level before the last `edit`, or out of configuration mode at the top."""
        if not self.session.level:
            return self.leave()
        self.go(self.trail.pop() if self.trail else [])
        return Answer()

    def top(self) -> Answer:
        """To the top."""
        self.session.top()
        self.trail = []
        return Answer()

    def up(self, levels: int = 1) -> Answer:
        """Up by levels."""
        self.session.up(levels)
        return Answer()

    def go(self, level: list[str]) -> None:
        """To a level given from the top."""
        self.session.top()
        if level:
            self.session.edit(join(level))

    @contextmanager
    def elsewhere(self, words: list[Word]) -> Iterator[list[Word]]:
        """For `top COMMAND` and `up [N] COMMAND`: the level is another one inside, and what is left of the line."""
        moved = self.configuring and self.moved(words)
        if not moved:
            yield words
            return
        home = list(self.session.level)
        levels, rest = moved
        self.session.up(levels) if levels else self.session.top()
        away = list(self.session.level)
        try:
            yield rest
        finally:
            if self.session.level == away:
                self.go(home)

    def moved(self, words: list[Word]) -> tuple[int, list[Word]] | None:
        """(levels up, 0 for the top; the rest) of a line that begins with top or up and goes on."""
        if len(words) < 2 or not words[0].text:
            return None
        if "top".startswith(words[0].text):
            return 0, words[1:]
        if "up".startswith(words[0].text):
            number, rest = (int(words[1].text), words[2:]) if words[1].text.isdigit() else (1, words[1:])
            return (number, rest) if rest else None
        return None


def expected(place: State) -> str:
    """What may follow, for a sentence."""
    return grammar.listing([c.word for c in place.choices()])
