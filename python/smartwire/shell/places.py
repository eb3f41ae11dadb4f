"""Places of the configure verbs: a path of the schema, and what may follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from smartwire.shell.grammar import Choice, Keywords, State

MARKS = {"container": ">", "list": ">", "leaf-list": "+"}
FREE = "value"


class Offer(Protocol):
    """What may come next in a path, as :class:`smartwire.config.schema.Option`."""

    word: str
    help: str
    kind: str


Options = Callable[[Sequence[str]], Iterable[Offer]]
"""The options behind the words of a path."""

Act = Callable[[list[str]], Any]
"""What a verb does with the words of its path."""


def phrase(text: str) -> str:
    """A help sentence as it stands in a list."""
    return text[:1].upper() + text[1:].rstrip(".")


@dataclass
class Done(State):
    """A complete command."""

    act: Callable[[], Any]
    ends: bool = True

    def run(self) -> Any:
        """Does it."""
        return self.act()


@dataclass
class Otherwise(Keywords):
    """Keywords that may follow, and what is done when none does."""

    act: Callable[[], Any] = field(kw_only=True)
    ends: bool = field(default=True, kw_only=True)

    def run(self) -> Any:
        """Does it."""
        return self.act()


@dataclass
class Free(State):
    """A place for one value, after which `then` gives the next place."""

    what: Choice
    then: Callable[[str], State]
    known: Callable[[], Iterable[Choice]] = tuple
    act: Callable[[], Any] | None = None

    @property
    def ends(self) -> bool:
        """True where the value may be left out."""
        return self.act is not None

    def choices(self) -> Iterable[Choice]:
        """Known values, and any other."""
        return [*self.known(), self.what]

    def step(self, word: str) -> State:
        """The place after the value."""
        return self.then(word)

    def run(self) -> Any:
        """Without the value."""
        assert self.act
        return self.act()


@dataclass
class Where(State):
    """A place in a path of the configuration.

    Attributes:
        options: what the schema, and what is configured, offer here.
        act: what the verb does; None where the path alone is not enough.
        words: the path so far, as typed, brackets included.
        tails: keywords that may end the path, with the place after each.
        text: a sentence that may end the path, and the place after it.
        empty: True where the verb may do without a path.
        anywhere: True where the path may end at any part, not only where a statement does.
    """

    options: Options
    act: Act | None
    words: list[str] = field(default_factory=list)
    tails: dict[str, tuple[str, Callable[[list[str]], State]]] = field(default_factory=dict)
    text: tuple[Choice, Callable[[list[str], str], State]] | None = None
    empty: bool = False
    anywhere: bool = False

    def offers(self) -> list[Offer]:
        """What the schema offers here."""
        return list(self.options(self.words))

    @property
    def complete(self) -> bool:
        """True where the path may end."""
        if not self.words:
            return self.empty
        return self.anywhere or any(o.kind == "enter" and not o.word for o in self.offers())

    @property
    def ends(self) -> bool:
        """True where the path may end and nothing else is needed."""
        return self.act is not None and self.complete

    def choices(self) -> Iterable[Choice]:
        """Words of the path, then the keywords that may end it."""
        offers = self.offers()
        found = [Choice(o.word, phrase(o.help), o.kind == FREE, mark=MARKS.get(o.kind, "")) for o in offers if o.word]
        if self.words and self.complete:
            found += [Choice(word, text) for word, (text, _) in self.tails.items()]
            found += [self.text[0]] if self.text else []
        return found

    def step(self, word: str) -> State:
        """One word further, or behind the path."""
        if self.words and word in self.tails and self.complete:
            return self.tails[word][1](self.words)
        if self.text and self.words and self.complete and word not in (o.word for o in self.offers() if o.word):
            return self.text[1](self.words, word)
        return replace(self, words=[*self.words, word])

    def run(self) -> Any:
        """What the verb does with this path."""
        assert self.act
        return self.act(self.words)
