"""What the tests of the web pages share: a box made of Python that serves them, and a browser."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="package")
def box() -> Iterator:
    """smartwired over the fake data plane, with its pages on a port of this machine."""
    pytest.importorskip("nicegui", reason="NiceGUI is not installed: ./smartwire test installs it")
    from .fakebox import FakeBox

    kept = {name: os.environ.get(name) for name in ("SMARTWIRE_RUN", "SMARTWIRE_STATE")}
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="smartwire-web-") as scratch, FakeBox(Path(scratch), port) as made:
        yield made
    for name, value in kept.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


@pytest.fixture(scope="package")
def chromium() -> Iterator:
    """A browser."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed: ./smartwire test does it"
    )
    if not CHROMIUM:
        pytest.skip("chromium is not installed: apt-get install chromium")
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def in_a_loop(work) -> None:
    """Runs a coroutine in a thread of its own: Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, work).result()


class Operator:
    """Somebody in front of a browser; everything that goes wrong in it is in `wrong`, what it asked for in `asked`."""

    def __init__(self, browser, base: str, **look) -> None:
        self.base, self.wrong, self.asked = base, [], []
        self.context = browser.new_context(ignore_https_errors=True, **look)
        self.context.set_default_timeout(30_000)
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda e: self.wrong.append(str(e)))
        self.page.on("requestfailed", lambda r: self.wrong.append(f"{r.url} {r.failure}"))
        self.page.on("request", lambda r: self.asked.append(r.url))

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def log_in(self, user: str, password: str, path: str = "/") -> None:
        self.go(path)
        self.page.get_by_label("User").fill(user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def text(self, of: str = "#main") -> str:
        return self.page.locator(of).inner_text()

    def until(self, words: str, of: str = "#main") -> None:
        self.page.locator(of).get_by_text(words).first.wait_for()


@pytest.fixture(scope="package")
def desk(box, chromium) -> Iterator[Operator]:
    """Alice, a super-user, logged in on a desktop."""
    from .fakebox import PASSWORD, USER

    made = Operator(chromium, f"https://127.0.0.1:{box.port}", viewport={"width": 1280, "height": 860})
    made.log_in(USER, PASSWORD)
    made.page.locator("#main .tile").first.wait_for()
    yield made
    made.context.close()
