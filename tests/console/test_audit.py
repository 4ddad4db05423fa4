"""The audit trail."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.console.visits import assert_meets_wcag


@pytest.mark.parametrize("path", ["/audit"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)
