"""Golden transcripts: each file is a session as operators would see it, replayed against a box made of Python.

A line that begins with a prompt is typed, by the user in it; `?` at its end asks, `<Tab>` completes. What follows is
exactly what is shown. To write a new one, write its prompts' lines and run
`UPDATE=1 python -m pytest tests/control/shell`; then read what it says, because that is the test.
"""

from __future__ import annotations

import difflib
import os
import re
import time
from pathlib import Path

import pytest
from smartwire.errors import Error
from smartwire.shell import front
from smartwire.shell.grammar import Mistake
from smartwire.shell.shell import Left, Shell

HERE = Path(__file__).parent / "transcripts"
PROMPT = re.compile(r"^(\w+)@(\w+)([>#]) ?(.*)$")
START = (
    "set system host-name box",
    "set system login user alice class super-user",
    "set system login user bob class super-user",
    "set system login user olga class operator",
    "set system login user rita class read-only",
    "set wires north pair eth1 core eth2",
    'set wires north description "towards the radio"',
    "set policies cdn match core-prefix 192.0.2.0/24",
    "set policies cdn engine wire",
    "set policies rest engine none",
)


class Desk:
    """Everybody at the same box, each with a shell of their own."""

    def __init__(self, box) -> None:
        box.commit(*START)
        self.box, self.shells = box, {}

    def shell(self, user: str) -> Shell:
        if user not in self.shells:
            session = self.box.engine.session(user, f"cli pts/{len(self.shells) + 1}")
            name = lambda: self.box.engine.running.config.value(("system", "host-name"))  # noqa: E731
            self.shells[user] = Shell(session, user, name, ask=lambda question: True, read=lambda invitation: "")
        return self.shells[user]

    def type(self, user: str, line: str) -> str:
        """What is shown after a line."""
        shell = self.shell(user)
        if line.endswith("?"):
            return front.asked(shell, line[:-1])
        if line.endswith("<Tab>"):
            typed = line.removesuffix("<Tab>")
            return "> " + front.completed(shell, typed)[0]
        try:
            return shell.run(line).text.rstrip("\n")
        except Left:
            del self.shells[user]
            return ""
        except Mistake as e:
            return front.caret(shell, e)
        except Error as e:
            return front.complaint(e)


def replay(desk: Desk, text: str) -> str:
    """The transcript with what is shown now."""
    shown: list[str] = []
    for line in text.splitlines():
        if line.startswith("##"):
            shown.append(line)
        elif found := PROMPT.match(line):
            user, _, _, typed = found.groups()
            shell = desk.shell(user)
            if shell.banner:
                shown.append(shell.banner)
            shown.append((shell.prompt + typed).rstrip())
            said = desk.type(user, typed)
            shown += [part.rstrip() for part in said.split("\n")] if said else []
            shown.append("")
    return "\n".join(shown).rstrip("\n") + "\n"


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript(path, box, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    text = path.read_text()
    now = replay(Desk(box), text)
    if os.environ.get("UPDATE"):
        path.write_text(now)
    elif now != text:
        pytest.fail("\n".join(difflib.unified_diff(text.splitlines(), now.splitlines(), "golden", "now", lineterm="")))
