"""Plans."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import assert_meets_wcag


@pytest.mark.parametrize("path", ["/plan", "/plan/business_central"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_a_plan_is_made_and_shows_that_nothing_was_written(page: Page) -> None:
    page.goto("/plan/dfe_csc")
    page.get_by_role("button", name="Make a plan").click()
    expect(page.get_by_text("Nothing was written.")).to_be_visible(timeout=20_000)
