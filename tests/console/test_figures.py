"""Figures: their list, the numbers of a range with chart and table, the rows behind a number, and all of it as files."""

from __future__ import annotations

import csv
import io

from playwright.sync_api import Page, expect

from tests.console.visits import Visitor, asked_why, assert_accessible, assert_meets_wcag, token
from tests.test_privacy import CANARY

SPRING = "from=2020-03-01&to=2020-05-31"


def test_a_number_leads_to_its_rows_and_what_they_hide_is_shown_for_a_reason(page: Page) -> None:
    assert_meets_wcag(page, "/figures")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("link", name="Assessments in 45 working days").click()
    expect(page.get_by_text("There are no assessments in these days.")).to_be_visible()
    page.get_by_label("First day").fill("2020-03-01")
    page.get_by_label("Last day").fill("2020-05-31")
    page.get_by_role("button", name="Show").click()
    chart = page.get_by_role("img", name="In time, %")
    expect(chart).to_be_visible()
    expect(chart.locator("rect")).to_have_count(2)
    late = page.get_by_role("row", name="2020-05").get_by_role("cell").nth(3)
    expect(late).to_contain_text("1")
    assert_meets_wcag(page, page.url)
    page.set_viewport_size({"width": 1280, "height": 900})
    late.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("1 row")
    row = page.get_by_role("row", name="lcs:assessment:3")
    expect(row).to_contain_text("•••")
    expect(row).not_to_contain_text("2020")
    assert_meets_wcag(page, page.url)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_text("Show personal fields").click()
    asked_why(page, "Show them", "What you need them for", "the weekly meeting on late assessments")
    expect(page.get_by_role("row", name="lcs:assessment:3")).to_contain_text("2020-05-29")
    assert_accessible(page)
    page.goto("/audit")
    expect(page.get_by_role("row", name="the weekly meeting on late assessments")).to_contain_text("saw its personal fields")


def test_a_day_that_is_none_is_told_beside_its_box(page: Page) -> None:
    page.goto("/figures/re-referrals?from=yesterday")
    expect(page.get_by_role("alert")).to_contain_text("the day in `from` is no date")
    assert_accessible(page)


def test_files_hide_what_the_pages_hide_unless_somebody_with_the_right_says_why(visitor: Visitor) -> None:
    vera, petra = visitor("vera"), visitor("petra")
    address = f"/figures/spend-over-500/rows.csv?{SPRING}"
    shown = vera.get(address)
    assert shown.headers["content-type"].startswith("text/csv")
    assert CANARY not in shown.text.lower()
    assert [line["beneficiary"] for line in csv.DictReader(io.StringIO(shown.text))] == ["•••", "•••"]
    form = {"from": "2020-03-01", "to": "2020-05-31", "as": "file", "why": "the quarter is published"}
    assert vera.post("/figures/spend-over-500/reveal", data=form | {"token": token(vera)}).status_code == 403
    whole = petra.post("/figures/spend-over-500/reveal", data=form | {"token": token(petra)})
    found = {line["document"]: line["beneficiary"] for line in csv.DictReader(io.StringIO(whole.text))}
    assert found == {"unit4:invoice:1": f"'=cmd|{CANARY}", "unit4:invoice:2": "REDACTED"}
    assert "the quarter is published" in petra.get("/audit").text
    numbers = list(csv.DictReader(io.StringIO(vera.get(f"/figures/spend-over-500/numbers.csv?{SPRING}").text)))
    assert [(line["month"], line["documents"], line["amount"]) for line in numbers] == [("2020-03", "2", "1600.00")]


def test_a_figure_that_is_none_is_not_found(visitor: Visitor) -> None:
    assert visitor("vera").get("/figures/nothing").status_code == 404
