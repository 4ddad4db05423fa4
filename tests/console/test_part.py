"""One stream or flow, and what may be done to it."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing

import pytest
from playwright.sync_api import Page, expect

from tests.console.visits import Consoles, Visitor, asked_why, assert_accessible, assert_meets_wcag, token


@pytest.mark.parametrize("path", ["/part/dfe_csc", "/part/liquidlogic.person", "/part/payables.payables"])
def test_it_meets_wcag_wide_and_at_400_percent(page: Page, path: str) -> None:
    assert_meets_wcag(page, path)


def test_a_flow_is_paused_with_a_reason_and_goes_on(page: Page) -> None:
    page.goto("/part/business_central")
    asked_why(page, "Pause business_central", "Why it is paused", "month end")
    expect(page.get_by_role("main").get_by_text("Paused", exact=True)).to_be_visible()
    said = re.compile(r"\(at the machine\) paused it in the console on .*: month end")
    expect(page.get_by_text(said)).to_be_visible()
    page.goto("/late")
    expect(page.get_by_text(said)).to_be_visible()
    page.get_by_role("link", name="resume business_central").click()
    page.get_by_role("button", name="Resume business_central").click()
    expect(page.get_by_role("button", name="Pause business_central")).to_be_visible()


def test_the_silence_that_a_cloud_system_asked_for_is_told_and_lifted_with_a_reason(page: Page, consoles: Consoles) -> None:
    with closing(sqlite3.connect(consoles.folder / "state.sqlite3", timeout=30)) as connection, connection:
        connection.execute("UPDATE budgets SET held = ? WHERE target = 'dfe_csc'", [time.time() + 600])
    page.goto("/part/dfe_csc")
    expect(page.get_by_text("the target asked for silence until").first).to_be_visible(timeout=15_000)
    page.reload()
    asked_why(page, "Release dfe_csc", "Why it is asked again now", "their gateway was restarted")
    expect(page.get_by_role("button", name="Release dfe_csc")).to_have_count(0)
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="their gateway was restarted").first
    expect(row).to_contain_text("lifted its silence in the console")


def test_a_flow_is_replayed_and_says_how_many_records_it_looks_at_again(page: Page, consoles: Consoles) -> None:
    def looked_at() -> int:
        with closing(sqlite3.connect(consoles.folder / "state.sqlite3", timeout=30)) as connection:
            found = connection.execute("SELECT sum(seq) FROM subjects WHERE flow = 'business_central' AND state <> 'dropped'")
            return int(found.fetchone()[0])

    page.goto("/part/business_central")
    page.get_by_role("radio", name="All", exact=True).check()
    page.get_by_role("checkbox", name="Take nothing for confirmed").check()
    before = looked_at()
    asked_why(page, "Replay business_central", "Why they are looked at again", "somebody worked in the cloud by hand")
    said = page.get_by_text(re.compile(r"\(at the machine\) had it replayed on .*: [0-9,]+ records to look at again\."))
    expect(said).to_be_visible(timeout=15_000)
    count = int(re.sub(r".*: ([0-9,]+) records.*", r"\1", said.inner_text()).replace(",", ""))
    assert looked_at() >= before + count > before + 50
    expect(page.get_by_role("main").get_by_text("Agrees", exact=True)).to_be_visible(timeout=30_000)  # without a reload
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="somebody worked in the cloud by hand").first
    expect(row).to_contain_text("business_central (all, rewrite)")
    expect(row).to_contain_text("had it replayed in the console")


def test_a_stream_is_read_again_whole_and_the_page_shows_how_far_it_is(page: Page) -> None:
    page.goto("/part/liquidlogic.person")
    asked_why(page, "Backfill liquidlogic.person", "Why it is read again", "the topic was restored")
    done = re.compile(r"\(at the machine\) had it read again, whole on .*: [1-9][0-9,]* rows read, 0 events published\.")
    expect(page.get_by_text(done)).to_be_visible(timeout=15_000)
    page.goto("/audit")
    row = page.get_by_role("row").filter(has_text="the topic was restored").first
    expect(row).to_contain_text("liquidlogic.person")


def test_what_the_guard_holds_back_is_shown_and_let_through_with_a_reason(page: Page, consoles: Consoles) -> None:
    consoles.emptied("FACT_DISABILITY")
    page.goto("/stuck")
    card = page.get_by_role("link", name=re.compile("held back in liquidlogic.person"))
    expect(card).to_be_visible(timeout=30_000)
    expect(page.get_by_text("lost their disabilities").first).to_be_visible()
    card.click()
    expect(page.get_by_role("heading", name="Let held changes through: emptied disabilities")).to_be_visible()
    assert_accessible(page)
    asked_why(page, "through", "Why the changes are right", "the table was retired")
    expect(page.get_by_text("let through. It is published with the next reading.").first).to_be_visible()
    expect(page.get_by_text("Held back")).to_have_count(0, timeout=30_000)
    page.goto("/audit")
    expect(page.get_by_role("row").filter(has_text="the table was retired").first).to_contain_text("let it through")
    consoles.filled_again("FACT_DISABILITY")


def test_a_file_whose_printed_total_is_wrong_is_accepted_with_a_reason_on_record(page: Page, consoles: Consoles) -> None:
    file = consoles.folder / "drop" / "payments-2031-01.csv"
    file.write_text(
        "Payment Ref,Payee,Paid On,Service,Amount\nBACS77001,Wrekin Print Ltd,02/01/2031,Parks,10.00\nTotal,,,,10.01\n"
    )
    page.goto("/part/payables.payables")
    held = page.get_by_text("is refused because of its total")
    expect(held.first).to_be_visible(timeout=30_000)
    page.reload()
    expect(page.get_by_role("heading", name=re.compile("Let held changes through: accept total"))).to_be_visible()
    asked_why(page, "Let 1 record through", "Why the changes are right", "the ledger rounds its total")
    expect(page.get_by_text("let through. It is published with the next reading.").first).to_be_visible()
    expect(page.get_by_text("Held back")).to_have_count(0, timeout=30_000)
    page.goto("/audit")
    expect(page.get_by_role("row").filter(has_text="the ledger rounds its total").first).to_contain_text("let it through")


def test_each_file_says_what_it_held_besides_its_records_or_why_it_was_refused(page: Page, consoles: Consoles) -> None:
    head = "Payment Ref,Payee,Paid On,Service,Amount\n"
    good = "BACS78001,Wrekin Print Ltd,02/02/2031,Parks,10.00\nBACS78002,Severn Glass Ltd,03/02/2031,Parks,5.00\n"
    copy, no_day = "BACS78002,Severn Glass Ltd,03/02/2031,Parks,5.00\n", "BACS78003,Coalport Tiles,31/02/2031,Parks,1.00\n"
    file, bad = consoles.folder / "drop" / "payments-2031-02.csv", consoles.folder / "drop" / "payments-2031-03.csv"
    file.write_text(head + good + copy + no_day + "Printed by Finance,,,,\n")
    bad.write_text("Colour,Size\nred,4\n")
    page.goto("/part/payables.payables")
    row = page.get_by_role("row").filter(has_text="payments-2031-02")
    expect(row).to_be_visible(timeout=30_000)  # without a reload
    refused = page.get_by_role("row").filter(has_text="payments-2031-03")
    expect(refused).to_contain_text("Refused", timeout=30_000)
    refused.get_by_text("Refused").click()
    expect(refused.get_by_text("fit no layout")).to_be_visible()
    expect(row.get_by_role("cell").nth(1)).to_have_text("1")  # in quarantine
    row.get_by_text("3 more").click()
    for told in ("copies of other rows: 1", "notes: 1", "rows in quarantine because Paid On is no day of the calendar: 1"):
        expect(row.get_by_text(told)).to_be_visible()
    with page.expect_response("**/live/part/**"):
        pass
    page.wait_for_timeout(500)  # what was opened stays open while the page is renewed
    expect(row.get_by_text("notes: 1")).to_be_visible()
    assert "Coalport" not in page.content()
    assert_accessible(page)

    file.write_text(head + good)
    bad.write_text(head + "BACS78009,Severn Glass Ltd,03/03/2031,Parks,5.00\n")
    expect(row.get_by_text("more")).to_have_count(0, timeout=30_000)
    expect(row.get_by_role("cell").nth(1)).to_have_text("0")
    expect(refused.get_by_text("Refused")).to_have_count(0, timeout=30_000)
    expect(refused.get_by_role("cell").nth(1)).to_have_text("0")


def test_a_stream_that_reads_no_files_and_a_flow_list_none(page: Page) -> None:
    for part in ("liquidlogic.person", "business_central"):
        page.goto(f"/part/{part}")
        expect(page.get_by_role("heading", name="Files")).to_have_count(0)


def test_a_stream_is_not_replayed_a_flow_is_not_read_and_no_other_reach_is_taken(visitor: Visitor) -> None:
    otto = visitor("otto")
    form = {"token": token(otto), "why": "mischief", "reach": "all"}
    for path in ("liquidlogic.person/replay", "dfe_csc/backfill", "liquidlogic.nobody/backfill", "nobody/replay"):
        assert otto.post(f"/part/{path}", data=form).status_code == 404, path
    asked = otto.post("/part/dfe_csc/replay", data=form | {"reach": "for ever"})
    assert asked.status_code == 422
    assert "Choose which records." in asked.text
    assert "mischief" not in otto.get("/audit").text


def test_what_is_under_way_is_not_begun_twice_and_a_reach_is_on_record(visitor: Visitor) -> None:
    otto = visitor("otto")
    path, form = "/part/liquidlogic.cin-plan", {"token": token(otto), "why": "a first reason", "reach": "hour"}
    assert otto.post(f"{path}/pause", data=form).status_code == 303  # so that nobody takes the backfill up
    assert otto.post(f"{path}/backfill", data=form).status_code == 303
    second = otto.post(f"{path}/backfill", data=form | {"why": "a second reason"})
    assert second.status_code == 409
    assert "It is under way already" in second.text
    assert otto.post(f"{path}/resume", data=form).status_code == 303
    assert otto.post("/part/business_central/replay", data=form).status_code == 303
    for _ in range(100):
        if "business_central (changed since 20" in (said := otto.get("/audit").text):
            break
        time.sleep(0.1)
    assert "business_central (changed since 20" in said
    assert "a second reason" not in said
