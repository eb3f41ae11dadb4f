"""The reference in docs/ is what the schema says."""

from __future__ import annotations

from pathlib import Path

import pytest
from smartwire.config.reference import renewed

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_reference_is_up_to_date():
    if not DOCUMENT.exists():
        pytest.skip("no docs beside these tests")
    text = DOCUMENT.read_text()
    assert text == renewed(text), "run: python -m smartwire.config.reference docs/configuration.md"
