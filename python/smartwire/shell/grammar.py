"""What may come next on a command line. One description serves running, completing and `?`.

A :class:`State` is a place in a command: it lists the words that may follow and steps along one of them. Keywords may
be abbreviated as long as they stay unique, as in Junos; a value is taken as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from smartwire.config.words import Word
from smartwire.errors import UsageError


@dataclass(frozen=True)
class Choice:
    """One thing that may come next.

    Attributes:
        word: the keyword or existing name; for a free value what to write, as ``<name>``.
        help: a phrase that says what it is.
        value: True where any text may stand here, so that `word` is not to be typed.
        text: True of a value that is a sentence: one word of it must be in quotes where keywords could be meant.
        mark: ``>`` where more is below, ``+`` where several may be given.
    """

    word: str
    help: str = ""
    value: bool = False
    text: bool = False
    mark: str = ""


class State:
    """A place in a command line."""

    ends: bool = False
    """True where Enter may be pressed."""

    def choices(self) -> Iterable[Choice]:
        """What may come next."""
        return ()

    def step(self, word: str) -> State:
        """The place after `word`, which is a whole keyword or a value; raises UsageError with a sentence."""
        raise UsageError(f"Nothing may follow here: remove {word!r}.")

    def run(self) -> Any:
        """Does what the line says; only where `ends`."""
        raise NotImplementedError


@dataclass
class Keywords(State):
    """A place where one of several keywords follows."""

    words: dict[str, tuple[str, Callable[[], State]]] = field(default_factory=dict)

    def choices(self) -> Iterable[Choice]:
        """The keywords."""
        return [Choice(word, text) for word, (text, _) in sorted(self.words.items())]

    def step(self, word: str) -> State:
        """The place after a keyword."""
        return self.words[word][1]()


class Mistake(UsageError):
    """A word that does not fit. `at` is where in the line it stands."""

    def __init__(self, sentence: str, at: int) -> None:
        super().__init__(sentence)
        self.at = at


def follow(state: State, words: Sequence[Word]) -> State:
    """The place after all `words`, abbreviations resolved.

    Raises:
        Mistake: with the place of the word that does not fit, and what would.
    """
    for word in words:
        try:
            state = state.step(resolve(state, word))
        except Mistake:
            raise
        except UsageError as e:
            raise Mistake(str(e), word.start) from None
    return state


def resolve(state: State, word: Word) -> str:
    """The keyword that a word stands for, or the word itself where it is a value."""
    choices = list(state.choices())
    fixed = [c.word for c in choices if not c.value]
    if word.text in fixed:
        return word.text
    near = [] if word.quoted else [w for w in fixed if w.startswith(word.text)]
    values = [c for c in choices if c.value]
    if any(not c.text for c in values) or (values and not near):
        return word.text
    if len(near) == 1:
        return near[0]
    if near:
        raise Mistake(f"{word.text!r} is ambiguous: it begins {listing(near)}.", word.start)
    if not choices:
        raise Mistake(f"Nothing may follow here: remove {word.text!r}.", word.start)
    raise Mistake(f"{word.text!r} is not known here. Expected: {listing(fixed)}.", word.start)


def listing(words: Sequence[str], most: int = 8) -> str:
    """Words for a sentence: a, b or c; the first few of many."""
    shown = list(words[:most])
    if not shown:
        return "nothing"
    if len(words) > most:
        return ", ".join(shown) + f" and {len(words) - most} more (? lists them)"
    return " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


@dataclass(frozen=True)
class Completion:
    """What could be typed at the end of a line.

    Attributes:
        start: where the word that is being typed begins, characters.
        choices: what fits it.
        ends: True where Enter may be pressed instead (only with an empty word).
    """

    start: int
    choices: list[Choice]
    ends: bool

    @property
    def only(self) -> str | None:
        """The one keyword that fits, if there is exactly one thing that does."""
        fixed = [c for c in self.choices if not c.value]
        return fixed[0].word if len(fixed) == 1 and len(self.choices) == 1 else None


def complete(state: State, words: Sequence[Word], line: str) -> Completion:
    """What could come at the end of the line, whose words (of this stage) are given.

    Raises:
        Mistake: where an earlier word does not fit.
    """
    typing = words[-1] if words and words[-1].end == len(line) and not bracket(words[-1]) else None
    place = follow(state, words[:-1] if typing else words)
    part = typing.text if typing else ""
    fits = [c for c in place.choices() if c.value or c.word.startswith(part)]
    ends = place.ends if not typing else False
    if typing and not fits and not place.choices():
        raise Mistake(f"Nothing may follow here: remove {part!r}.", typing.start)
    return Completion(typing.start if typing else len(line), fits, ends)


def bracket(word: Word) -> bool:
    """True for an unquoted bracket, which is complete as it stands."""
    return word.is_("[") or word.is_("]")
