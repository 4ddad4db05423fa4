"""A small council with consoles over it, a browser, and people who sign in. All tests of the console share them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.console.visits import PEOPLE, Consoles, Visitor, process
from tests.fixtures import needed
from tests.servers import Absent, running_issuer

ANEW = httpx.Limits(max_keepalive_connections=0)
"""Each request has a connection of its own: a kept one may be closed at the very moment at which it is used again."""


@pytest.fixture(scope="package")
def issuer() -> Iterator[str]:
    with running_issuer(PEOPLE) as url:
        yield url


@pytest.fixture(scope="package")
def consoles(issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consoles]:
    folder = tmp_path_factory.mktemp("console")
    with process("-m", "tests.console.world", str(folder), issuer) as world:
        assert world.stdout is not None
        line = world.stdout.readline()
        assert line, "the world did not come up"
        yield Consoles(**json.loads(line), folder=folder)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with needed():
        program = shutil.which("chromium") or shutil.which("chromium-browser")
        if program is None:
            raise Absent("Chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser, consoles: Consoles) -> Iterator[Page]:
    """A window at the console of whoever is at the machine; what it complains of fails the test."""
    context = chromium.new_context(base_url=consoles.open, viewport={"width": 1280, "height": 900})
    window = context.new_page()
    said: list[str] = []
    window.on("console", lambda message: said.append(message.text) if "Failed to load" not in message.text else None)
    window.on("pageerror", lambda error: said.append(str(error)))
    yield window
    context.close()
    assert said == []


@pytest.fixture
def visitor(consoles: Consoles) -> Iterator[Visitor]:
    """Somebody's browser at the closed console, as far as cookies go; with a name, after the provider has asked who it is."""
    with ExitStack() as stack:

        def visit(name: str) -> httpx.Client:
            client = stack.enter_context(httpx.Client(base_url=consoles.closed, timeout=60, limits=ANEW))
            if name:
                sent = client.get("/sign-in", params={"next": "/stuck"})
                back = httpx.post(sent.headers["location"], data={"sub": name})
                client.get(back.headers["location"])
            return client

        yield visit
