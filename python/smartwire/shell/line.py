"""The line editor: prompt_toolkit with Junos's keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output

from smartwire.config.words import scan
from smartwire.shell.front import asked, completed
from smartwire.shell.shell import Shell


class Line:
    """Reads one command after the other, with a history that lasts.

    Args:
        shell: whose commands are completed.
        source, target: a terminal's input and output, where they are not the process's own.
    """

    def __init__(self, shell: Shell, source: Input | None = None, target: Output | None = None) -> None:
        self.shell = shell
        self.session: PromptSession[str] = PromptSession(
            history=history(), key_bindings=keys(shell), input=source, output=target, enable_history_search=True
        )

    def read(self) -> str:
        """One line; raises EOFError at ^D and KeyboardInterrupt at ^C."""
        banner = self.shell.banner
        return self.session.prompt((f"{banner}\n" if banner else "") + self.shell.prompt)


def history() -> Any:
    """Commands of earlier sessions; only of this one where the home directory cannot be written."""
    path = Path("~/.smartwire_history").expanduser()
    try:
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def keys(shell: Shell) -> KeyBindings:
    """Tab and space complete, ? shows what may come next."""
    bindings = KeyBindings()

    def before(event: KeyPressEvent) -> str:
        return event.current_buffer.document.text_before_cursor

    def inside_quotes(text: str) -> bool:
        words = scan(text)
        return bool(words and words[-1].open)

    def show(event: KeyPressEvent) -> None:
        said = asked(shell, before(event))
        run_in_terminal(lambda: print(said))

    def take(event: KeyPressEvent, line: str) -> None:
        buffer = event.current_buffer
        buffer.delete_before_cursor(len(before(event)))
        buffer.insert_text(line)

    @bindings.add("?")
    def _(event: KeyPressEvent) -> None:
        if inside_quotes(before(event)):
            event.current_buffer.insert_text("?")
        else:
            show(event)

    @bindings.add("tab")
    def _(event: KeyPressEvent) -> None:
        text = before(event)
        line, whole = completed(shell, text)
        if whole:
            line += " "
        if line == text:
            show(event)
        else:
            take(event, line)

    @bindings.add(" ")
    def _(event: KeyPressEvent) -> None:
        text = before(event)
        if not text.strip() or text.endswith(" ") or inside_quotes(text):
            event.current_buffer.insert_text(" ")
            return
        line, whole = completed(shell, text)
        if whole:
            take(event, line + " ")
        elif line != text or ambiguous(shell, text):
            take(event, line)
            show(event)
        else:
            event.current_buffer.insert_text(" ")

    return bindings


def ambiguous(shell: Shell, text: str) -> bool:
    """True where the last word begins several keywords and is none; what stands before a bar's filters is whole."""
    from smartwire.errors import Error

    try:
        found = shell.complete(text)
    except Error:
        return False
    part, fixed = text[found.start :], [c for c in found.choices if not c.value]
    return bool(part) and len(fixed) > 1 and len(fixed) == len(found.choices) and all(c.word != part for c in fixed)
