"""Each packet script below this directory is a test of its own (docs/packet-scripts.md)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from smartwire.cli.script import SUFFIX, report


def pytest_collect_file(parent: pytest.Collector, file_path: Path) -> pytest.Collector | None:
    """Takes the scripts."""
    return ScriptFile.from_parent(parent, path=file_path) if file_path.suffix == SUFFIX else None


class ScriptFile(pytest.File):
    """A file with one script in it."""

    def collect(self) -> list[pytest.Item]:
        """The script."""
        return [ScriptItem.from_parent(self, name="script")]


class ScriptItem(pytest.Item):
    """A script in all its variants."""

    def runtest(self) -> None:
        """Runs it."""
        done = report(Path(os.path.relpath(self.path)))
        if not done["ok"]:
            raise ScriptFailed(done["text"])
        if done["xfail"]:
            pytest.xfail(done["xfail"])

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: str | None = None) -> object:
        """What the script says about its failure, and no Python."""
        if isinstance(excinfo.value, ScriptFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """How it is named."""
        return self.path, 0, os.path.relpath(self.path)


class ScriptFailed(Exception):
    """A script did not go as it says."""
