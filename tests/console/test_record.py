"""A record's story."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import Consoles, assert_accessible, assert_meets_wcag, in_group
from tests.test_privacy import CANARY


@pytest.mark.parametrize("path", ["/record?key=liquidlogic:person:1002", "/record?key=nobody:is:1"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_the_story_of_what_needs_a_person_says_what_to_do_and_leads_to_it(page: Page) -> None:
    for words in ("records quarantined in ", "parked in dfe_csc"):
        in_group(page, words)
        group, step = page.url, page.locator(".app-next").first.inner_text()
        page.locator("tbody tr .app-key").first.click()
        expect(page.locator(".app-next").first).to_have_text(step)
        assert_accessible(page)
        page.get_by_role("link", name="Have it looked at again, or give it up").click()
        assert page.url == group


def test_personal_fields_are_shown_only_for_a_reason_which_goes_on_record(page: Page, consoles: Consoles) -> None:
    page.goto(f"/record?key={consoles.child()}")
    assert CANARY not in page.content()
    assert "•••" in page.content()
    page.get_by_text("Show personal fields").click()
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_label("What you need them for").fill("ticket 4711")
    page.get_by_role("button", name="Show them").click()
    expect(page.get_by_text("Personal fields are shown in clear")).to_be_visible()
    assert CANARY in page.content()
    assert CANARY not in page.url
    page.goto("/audit")
    expect(page.get_by_role("row").filter(has_text="saw its personal fields").first).to_contain_text("ticket 4711")
