"""The Rust core from Python: conversions and failures."""

from __future__ import annotations

import json

import pytest
from smartwire import Error, _native


def test_reasons_have_names_and_sentences():
    refuse, stop, found = _native.reasons()
    assert "mid-stream" in dict(refuse)
    assert "wire-opened" in dict(stop)
    assert "mss-reversed" in dict(found)
    assert all(text.endswith(".") for _, text in refuse + stop + found)


def test_a_built_in_profile_is_json():
    for name in _native.profile_names():
        assert json.loads(_native.profile(name))["name"] == name


def test_a_core_error_is_a_smartwire_error_with_its_sentence():
    with pytest.raises(Error, match="lte-still"):
        _native.profile("nonsense")
    with pytest.raises(Error, match="emulator description"):
        _native.Emulator("{", "a", "b").run()
    with pytest.raises(Error, match="no-such0"):
        _native.Emulator("{}", "no-such0", "no-such1").run()
