"""All groups of stuck records."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import assert_meets_wcag


@pytest.mark.parametrize("path", ["/stuck"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_a_live_page_says_when_the_console_has_gone(page: Page) -> None:
    page.goto("/stuck")
    page.route("**/live/**", lambda route: route.fulfill(status=503))
    expect(page.locator("#live")).to_contain_text("Not live", timeout=10_000)
