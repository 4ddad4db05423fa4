"""Traces."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import assert_meets_wcag


@pytest.mark.parametrize("path", ["/traces"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_a_change_is_followed_step_by_step_from_the_row_to_the_answer(page: Page) -> None:
    page.goto("/traces")
    page.get_by_role("link", name=re.compile("^read ")).first.click()
    steps = page.locator(".app-waterfall tbody tr")
    assert steps.count() >= 3
    expect(page.locator(".app-waterfall")).to_contain_text("publish ")
    expect(page.get_by_role("link", name="Open it in the trace viewer")).to_have_attribute(
        "href", re.compile(r"^https://traces\.example\.gov\.uk/[0-9a-f]{32}$")
    )
