"""What the tests of the configuration share: a box made of Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from scratchbox import Box


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path / "state")
