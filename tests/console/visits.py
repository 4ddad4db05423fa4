"""How the tests look at the console: where it is, who its visitors are, and what they do again and again."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from ironbridge.console import pages

ROOT = Path(__file__).parents[2]
PEOPLE = {
    "vera": ["ironbridge-viewer"], "otto": ["ironbridge-operator"], "petra": ["ironbridge-viewer", "ironbridge-personal"],
    "nora": ["something-else"],
}  # fmt: skip
Visitor = Callable[[str], httpx.Client]


@dataclass(frozen=True)
class Consoles:
    """Where they are, and the folder of the world that they show."""

    open: str
    closed: str
    folder: Path

    def child(self) -> str:
        """A child that has arrived in the cloud."""
        with closing(sqlite3.connect(self.folder / "state.sqlite3", timeout=30)) as connection:
            found = connection.execute(
                "SELECT f.key FROM facts f JOIN subjects s ON s.subject = f.key WHERE s.flow = 'dfe_csc' "
                "AND s.state = 'agreed' AND f.entity = 'person' ORDER BY f.key LIMIT 1"
            )
            return str(found.fetchone()[0])

    def warehouse(self, statement: str) -> None:
        """Somebody works in the legacy database."""
        with closing(sqlite3.connect(self.folder / "liquidlogic.sqlite3", timeout=30)) as connection, connection:
            assert connection.execute(statement).rowcount == 1

    def emptied(self, table: str) -> None:
        """The warehouse is being rebuilt: a table is still empty."""
        with closing(sqlite3.connect(self.folder / "liquidlogic.sqlite3", timeout=30)) as connection, connection:
            connection.execute(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
            connection.execute(f"DELETE FROM {table}")

    def filled_again(self, table: str) -> None:
        with closing(sqlite3.connect(self.folder / "liquidlogic.sqlite3", timeout=30)) as connection, connection:
            connection.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    try:
        yield started
    finally:
        assert started.stdin is not None
        started.stdin.close()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
        assert started.stdout is not None
        started.stdout.close()


def token(client: httpx.Client, path: str = "/records") -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found[1]


def assert_accessible(page: Page) -> None:
    """axe finds nothing."""
    found = Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


def assert_meets_wcag(page: Page, path: str) -> None:
    """A page is accessible, at full width and at 400 %, and does not scroll sideways."""
    page.goto(path)
    for width in (1280, 320):  # 1280 pixels at 400 % are 320
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} scrolls sideways at {width}"
        assert_accessible(page)


ANY = {
    "name": "dfe_csc", "flow": "business_central", "group": "0" * 12, "trace": "0" * 32, "id": "1", "form": "json",
    "figure": "re-referrals",
}  # fmt: skip
"""A value for each parameter of an address."""


def looks(**values: str) -> list[str]:
    """Every address of every page that is looked at, with these values in the place of its parameters."""
    return [_filled(path, values) for page in pages.found() for path in page.looks]


def forms(**values: str) -> list[str]:
    """Every address that a form is sent to, with these values in the place of its parameters."""
    return [_filled(form.path, values) for page in pages.found() for form in page.forms]


def _filled(path: str, values: dict[str, str]) -> str:
    return re.sub(r"{(\w+)(:\w+)?}", lambda name: values[name[1]], path)


def asked_why(page: Page, button: str, box: str, why: str) -> None:
    """Press a button, be asked for a reason, follow the error to its box, give one, and press again."""
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_role("alert").get_by_role("link").click()
    field = page.get_by_role("textbox", name=box)
    expect(field).to_be_focused()
    assert_accessible(page)
    field.fill(why)
    page.get_by_role("button", name=button).click()


def in_group(page: Page, words: str) -> None:
    page.goto("/stuck")
    page.get_by_role("link", name=re.compile(words)).first.click()
    expect(page.get_by_text("Next step:")).to_be_visible()
