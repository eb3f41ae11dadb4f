"""Ten thousand lines of nonsense at the command line: a sentence each, no traceback, nothing changed."""

from __future__ import annotations

import os
import random

import pytest
from smartwire.errors import Error
from smartwire.shell import front
from smartwire.shell.grammar import Mistake
from smartwire.shell.shell import Left, Shell

SEED = int(os.environ.get("SEED", "20261125"))
COUNT = 10_000
TYPED = """
show configure set delete edit top up exit wires north pair eth1 core mode optimize policies p match engine proxy
| match count display set json compare insert before rename to copy annotate load merge terminal rollback 1 0 -1
rescue test policy client 10.0.0.1 ::1 server port 65536 run monitor request wire drain system commit audit é
deactivate configuration limit last find except trim [ ] { } ; # ? ( * %s ../..
"""
WORDS = (*TYPED.split(), '"', '"a b"', "\\", "\x00", "\x1b[2J", "A" * 300)


@pytest.fixture
def rng():
    print(f"SEED={SEED}")
    return random.Random(SEED)


def nonsense(rng: random.Random) -> str:
    """Some words in a row, whole or cut off; never a commit or a save."""
    line = " ".join(rng.choice(WORDS) for _ in range(rng.randrange(9)))
    return line[: rng.randrange(len(line) + 1)] if rng.random() < 0.3 else line


@pytest.mark.parametrize("user", ["rita", "olga"])
def test_nonsense_gets_a_sentence_and_changes_nothing(box, rng, user):
    box.commit(
        "set wires north pair eth1 core eth2",
        "set policies p match core-port 80",
        "set system login user rita class read-only",
        "set system login user olga class operator",
    )
    before = box.engine.running

    def fresh() -> Shell:
        session = box.engine.session(user, "cli pts/1")
        return Shell(session, user, lambda: "box", ask=lambda question: False, read=lambda invitation: "")

    shell, said = fresh(), set()
    for _ in range(COUNT // 2):
        line = nonsense(rng)
        try:
            if rng.random() < 0.2:
                front.asked(shell, line)
            elif rng.random() < 0.2:
                front.completed(shell, line)
            else:
                shell.run(line)
                said.add("answer")
        except Left:
            shell = fresh()
        except Mistake as e:
            said |= {"mistake"} if front.caret(shell, e) else {"silence"}
        except Error as e:
            said |= {"internal error"} & {str(e)[:14]} or {"error"}
    assert said == {"answer", "mistake", "error"}
    assert box.engine.running is before
    assert box.engine.shared.config == before.config
