"""Records are found by any number, which no address holds."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import Consoles, assert_meets_wcag


@pytest.mark.parametrize("path", ["/records"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_a_record_is_found_and_read_by_keyboard_alone(page: Page, consoles: Consoles) -> None:
    child = consoles.child()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == "Find a record":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Find a record")).to_be_visible()
    box = page.get_by_label("Any number of it")
    while not box.evaluate("e => e === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.type(child)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=child)).to_be_visible()
    expect(page.get_by_text("dfe_csc: confirmed").first).to_be_visible()


def test_a_record_is_found_by_a_number_that_stands_in_no_address(page: Page, consoles: Consoles) -> None:
    with closing(sqlite3.connect(consoles.folder / "state.sqlite3", timeout=30)) as connection:
        found = connection.execute(
            "SELECT value, key FROM identifiers WHERE key LIKE 'liquidlogic:person:%' ORDER BY key"
        )
        number, key = found.fetchone()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/records")
    page.get_by_label("Any number of it").fill(number)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", name=key)).to_be_visible()
    assert not [url for url in asked if number in url]
