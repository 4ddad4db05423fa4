"""One group of stuck records: look again, give up."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import assert_accessible, in_group


def test_a_parked_record_is_retried_and_the_page_says_so_once(page: Page) -> None:
    in_group(page, "parked in dfe_csc")
    group = page.url
    page.get_by_role("button", name=re.compile("^Look again at liquidlogic")).first.click()
    expect(page.get_by_role("alert")).to_contain_text("1 record is being looked at again.")
    assert page.url == group
    page.reload()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.goto("/stuck/retry")  # a form's address, out of the browser's history
    expect(page.get_by_role("heading", name="Parked and quarantined")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 375])
def test_one_record_is_given_up_with_a_reason_on_record_and_the_others_stay(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    in_group(page, "records quarantined in ")
    rows = page.locator("tbody tr")
    before, first = rows.count(), rows.first.locator(".app-key").inner_text()
    rows.first.get_by_text("Give up").click()
    give = page.get_by_role("button", name=f"Give it up {first}", exact=True)
    give.click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_role("alert").get_by_role("link").click()
    box = page.get_by_role("textbox", name=f"Why {first} is given up", exact=True)
    expect(box).to_be_focused()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert_accessible(page)
    box.fill("left the council in 2009")
    with page.expect_response(re.compile("/live/stuck/")):  # what comes in live leaves alone what is being typed
        pass
    expect(box).to_have_value("left the council in 2009")
    give.click()
    expect(page.get_by_role("alert")).to_contain_text("1 record is given up. The next change of its facts brings it back.")
    expect(rows).to_have_count(before - 1)
    expect(page.locator("tbody")).not_to_contain_text(first)


def test_a_group_is_given_up_with_a_reason_on_record_and_is_then_no_more(page: Page) -> None:
    in_group(page, "records quarantined in payables.payables")
    group = page.url
    page.get_by_text("Give up all, with a reason").click()
    page.get_by_role("button", name=re.compile("^Give up all [0-9]+$")).click()
    expect(page.get_by_role("alert")).to_contain_text("Say why")
    page.get_by_role("textbox", name=re.compile("^Why they are")).fill("exported twice by mistake")
    page.get_by_role("button", name=re.compile("^Give up all")).click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile("[0-9]+ records are given up."))
    assert page.url == group
    expect(page.get_by_text("Its records are being looked at again, have got on, or were given up.")).to_be_visible()
    assert_accessible(page)
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="exported twice by mistake").first
    expect(row).to_contain_text("gave it up in the console")
