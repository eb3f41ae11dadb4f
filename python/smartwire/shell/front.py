"""The shell on a terminal, and in a script."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import click

from smartwire.config.words import quote
from smartwire.errors import Error
from smartwire.shell.grammar import Choice, Mistake
from smartwire.shell.pipes import Answer
from smartwire.shell.shell import Left, Shell

MORE = "---(more)---"


def script(shell: Shell, lines: Iterable[str]) -> int:
    """Runs lines one after the other, without questions; returns 1 at the first that fails."""
    shell.read = lambda invitation: sys.stdin.read()
    for line in lines:
        try:
            deliver(shell.run(line), paged=False)
        except Left:
            return 0
        except Error as e:
            print(complaint(e), file=sys.stderr)
            return 1
    return 0


def interactive(shell: Shell) -> int:
    """Reads commands until the operator leaves."""
    from smartwire.shell.line import Line

    shell.ask = lambda question: click.prompt(question, default="", prompt_suffix="", show_default=False).strip() in YES
    shell.read = typed
    line = Line(shell)
    while True:
        try:
            text = line.read()
        except KeyboardInterrupt:
            continue
        except EOFError:
            text = "exit"
        try:
            deliver(shell.run(text), paged=True)
        except Left:
            return 0
        except Mistake as e:
            print(caret(shell, e))
        except Error as e:
            print(complaint(e))
        except KeyboardInterrupt:
            print()


def caret(shell: Shell, mistake: Mistake) -> str:
    """A mark under the word that does not fit, and the sentence."""
    return " " * (len(shell.prompt) + mistake.at) + f"^\n{mistake}"


def complaint(error: Error) -> str:
    """What is said of a failure: all problems of a commit, then the sentence."""
    return "\n".join([*(str(p) for p in getattr(error, "problems", ())), f"error: {error}"])


YES = ("yes", "y")


def typed(invitation: str) -> str:
    """What is typed or pasted until ^D."""
    print(invitation)
    return sys.stdin.read()


def deliver(answer: Answer, paged: bool) -> None:
    """Shows an answer, or saves it."""
    if answer.save:
        path = Path(answer.save).expanduser()
        try:
            path.write_text(answer.text.rstrip("\n") + "\n", encoding="utf-8")
        except OSError as e:
            raise Error(f"{path} cannot be written: {e.strerror}.") from None
        print(f"Wrote {len(answer.text.splitlines())} lines of output to '{path}'")
    elif answer.refresh and paged:
        watch(answer)
    elif answer.text:
        lines = answer.text.rstrip("\n").splitlines()
        height = shutil.get_terminal_size().lines
        if paged and answer.pager and sys.stdout.isatty() and len(lines) >= height:
            page(lines, height - 1)
        else:
            print("\n".join(lines))


def page(lines: list[str], height: int) -> None:
    """Stops after each screen: space goes on by one, Enter by a line, q ends."""
    at, step = 0, height
    while True:
        print("\n".join(lines[at : at + step]))
        at += step
        if at >= len(lines):
            return
        print(MORE, end="", flush=True)
        key = click.getchar()
        print("\r" + " " * len(MORE) + "\r", end="")
        if key in ("q", "Q", "\x03"):
            return
        step = 1 if key in ("\r", "\n") else height


def watch(answer: Answer) -> None:
    """Draws an answer again every second until Ctrl-C or q."""
    import select
    import termios
    import tty

    assert answer.refresh
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    try:
        while True:
            rows = shutil.get_terminal_size().lines - 2
            lines = answer.refresh().splitlines()[:rows]
            click.clear()
            print("\n".join([time.strftime("%H:%M:%S  (q ends)"), *lines]), flush=True)
            if select.select([sys.stdin], [], [], 1.0)[0] and sys.stdin.read(1) in "qQ":
                return
    except KeyboardInterrupt:
        pass
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def possible(choices: Iterable[Choice], ends: bool) -> str:
    """What `?` shows."""
    rows = [("  <[Enter]>", "Execute this command")] if ends else []
    rows += [(f"{c.mark or ' '} {c.word}", c.help) for c in choices]
    if not rows:
        return "No valid completions"
    width = min(max(len(left) for left, _ in rows), 34)
    return "\n".join(["Possible completions:", *(f"{left:<{width}}  {text}".rstrip() for left, text in rows)])


def asked(shell: Shell, line: str) -> str:
    """The text that `?` shows for a line."""
    try:
        found = shell.complete(line)
    except Mistake as e:
        return caret(shell, e)
    except Error as e:
        return f"error: {e}"
    return possible(found.choices, found.ends)


def completed(shell: Shell, line: str) -> tuple[str, bool]:
    """(the line with its last word completed as far as it is sure, True if that word is whole now)."""
    try:
        found = shell.complete(line)
    except Error:
        return line, False
    part = line[found.start :]
    fixed = [c.word for c in found.choices if not c.value and c.word != "|"]
    if not part and not found.only:
        return line, False
    if len(fixed) == 1 and (found.only or fixed[0] != part):
        return line[: found.start] + quote(fixed[0]), True
    if not fixed:
        return line, bool(part)
    common = longest_common(fixed)
    return (line[: found.start] + common, False) if len(common) > len(part) else (line, part in fixed)


def longest_common(words: list[str]) -> str:
    """The beginning that all words share."""
    first, last = min(words), max(words)
    return next((first[:n] for n in range(len(first), 0, -1) if last.startswith(first[:n])), "")
