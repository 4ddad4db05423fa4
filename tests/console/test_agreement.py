"""All sides of a flow are compared."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import assert_accessible, assert_meets_wcag
from tests.test_privacy import CANARY


@pytest.mark.parametrize("path", ["/agreement", "/agreement/dfe_csc"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_all_sides_of_a_flow_are_compared_and_the_certificate_is_had_in_three_forms(page: Page) -> None:
    page.goto("/agreement/business_central")
    page.get_by_role("button", name="Compare now").click()
    page.get_by_role("link", name="see the certificate").click(timeout=90_000)
    expect(page.get_by_text("Verified through")).to_be_visible()
    assert_accessible(page)
    for form in ("HTML", "CSV", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("link", name=form).click()
        assert download.value.suggested_filename.endswith(form.lower())
        assert CANARY not in download.value.path().read_text(encoding="utf-8")
