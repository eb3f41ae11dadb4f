"""What the lab's tests share: a short lab with a bridge, and a clean machine afterwards."""

from __future__ import annotations

import pytest
from smartwire.errors import Error
from smartwire.lab import net


@pytest.fixture(autouse=True)
def _lab_possible(request):
    """Skips a test that builds namespaces where that cannot be done, with the reason."""
    if request.node.get_closest_marker("root"):
        try:
            net.check_requirements()
            net.run("ip", "netns", "list")
        except Error as problem:
            pytest.skip(str(problem))


@pytest.fixture
def own_namespaces():
    """Names of the namespaces that belong to this process."""
    import os

    return lambda: [name for name, owner in net.namespaces() if owner == os.getpid()]
