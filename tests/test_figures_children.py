"""Figures of children's social care, each over a small world whose answer was counted by hand."""

from __future__ import annotations

from datetime import date

from canonical import Entity
from ironbridge.figures.days import calendar
from tests.figure_tables import made, numbers, of_child, shown


def working_days(first: date, last: date) -> int:
    table = calendar(date(2026, 11, 28)).to_pydict()
    nth = dict(zip(table["day"], table["nth"], strict=True))
    return nth[last] - nth[first]


def test_working_days_leave_out_weekends_and_the_bank_holidays_of_england() -> None:
    assert working_days(date(2026, 4, 2), date(2026, 4, 7)) == 1  # Good Friday, a weekend, Easter Monday
    assert working_days(date(2026, 12, 24), date(2026, 12, 29)) == 1  # Boxing Day is a Saturday: Monday is free instead
    assert working_days(date(2026, 11, 28), date(2026, 11, 30)) == 1  # from a Saturday; St Andrew's Day is no holiday in England


def test_a_contact_is_followed_by_a_referral_of_the_same_child_for_30_days() -> None:
    world = [
        of_child("contact", 1, 1, contact_date="2026-03-01", source="1A"),
        of_child("contact", 2, 2, contact_date="2026-03-01", source="1A"),  # its referral is a day too late
        of_child("contact", 3, 3, contact_date="2026-03-31", source="1A"),  # only another child was referred
        of_child("contact", 4, 1, contact_date="2026-04-01", source="1A"),  # after the last day; after the referral, too
        of_child("contact", 5, 4, contact_date="2026-03-02"),
        of_child("care-episode", 1, 1, referral_date="2026-03-31"),
        of_child("care-episode", 2, 2, referral_date="2026-04-01"),
        of_child("care-episode", 3, 4, referral_date="2026-03-02"),
        of_child("care-episode", 4, 4, referral_date="2026-03-09"),
    ]
    assert shown("contacts", "2026-03-01", "2026-03-31", world) == [
        {"month": "2026-03", "contact_source": "1A", "contacts": 3, "referred": 1, "referred_percent": 33.3},
        {"month": "2026-03", "contact_source": "not known", "contacts": 1, "referred": 1, "referred_percent": 100.0},
    ]


def test_what_follows_a_referral_follows_within_30_days() -> None:
    world = [
        of_child("care-episode", 1, 1, referral_date="2026-03-01", referral_source="2A", no_further_action=True),
        of_child("care-episode", 2, 2, referral_date="2026-03-01", referral_source="2A", no_further_action=False),
        of_child("care-episode", 3, 3, referral_date="2026-03-31", referral_source="2A"),
        of_child("care-episode", 4, 4, referral_source="2A"),  # nobody knows when
        of_child("assessment", 1, 2, start_date="2026-03-31"),
        of_child("assessment", 2, 2, start_date="2026-03-02"),
        of_child("section-47-enquiry", 1, 2, start_date="2026-03-03"),
        of_child("assessment", 3, 3, start_date="2026-05-01"),  # day 31
        of_child("section-47-enquiry", 2, 3, start_date="2026-04-30"),  # day 30
        of_child("assessment", 4, 1, start_date="2026-02-28"),  # before the referral
    ]
    [line] = shown("referrals", "2026-03-01", "2026-03-31", world)
    names = ("referrals", "no_further_action", "assessed", "enquired", "assessed_and_enquired", "no_further_action_percent")
    assert numbers(line, *names) == (3, 1, 1, 2, 1, 33.3)


def test_a_re_referral_is_at_most_12_months_after_an_earlier_day() -> None:
    world = [
        of_child("care-episode", "a", 1, referral_date="2025-03-10"),
        of_child("care-episode", "b", 1, referral_date="2026-03-10"),  # 12 months to the day
        of_child("care-episode", "c", 2, referral_date="2025-03-09"),
        of_child("care-episode", "d", 2, referral_date="2026-03-10"),  # a day more
        of_child("care-episode", "e", 3, referral_date="2026-03-10"),
        of_child("care-episode", "f", 3, referral_date="2026-03-10"),  # two on one day
        of_child("care-episode", "g", 4, referral_date="2026-03-11"),  # of another child
        of_child("care-episode", "h", 3, referral_date="2026-03-20"),
    ]
    [line] = shown("re-referrals", "2026-03-01", "2026-03-31", world)
    assert numbers(line, "referrals", "again", "again_percent") == (6, 2, 33.3)


def test_an_assessment_is_in_time_on_day_45_with_easter_between() -> None:
    # Monday 2 February is day 0, Monday 30 March day 40; 3 and 6 April are bank holidays, Wednesday 8 April is day 45.
    world = [
        of_child("care-episode", 1, 1, referral_date="2026-01-30"),  # the Friday before: day 46 from there
        of_child("assessment", 1, 1, episode="lcs:care-episode:1", start_date="2026-02-02", authorised_date="2026-04-08"),
        of_child("assessment", 2, 2, start_date="2026-02-02", authorised_date="2026-04-09"),
        of_child("assessment", 3, 3, start_date="2026-02-02"),  # open
        of_child("assessment", 4, 4, authorised_date="2026-04-10"),
        of_child("assessment", 5, 5, start_date="2026-04-20", authorised_date="2026-04-10"),
        of_child("care-episode", 6, 6, referral_date="2026-04-10"),
        of_child("assessment", 6, 6, episode="lcs:care-episode:6", start_date="2026-04-10", authorised_date="2026-04-10"),
        of_child("assessment", 7, 7, start_date="2026-04-30", authorised_date="2026-05-01"),  # after the last day
    ]
    [line] = shown("assessments-in-time", "2026-04-01", "2026-04-30", world)
    assert line == {
        "month": "2026-04", "assessments": 5, "in_time": 2, "late": 1, "undated": 2, "in_time_percent": 66.7, "from_referral": 1
    }  # fmt: skip


def test_an_open_assessment_is_overdue_from_day_46_on() -> None:
    world = [
        of_child("assessment", 1, 1, start_date="2026-02-02"),
        of_child("assessment", 2, 2, start_date="2026-01-30"),
        of_child("assessment", 3, 3, start_date="2026-02-02", authorised_date="2026-04-09"),  # open on the day, authorised later
        of_child("assessment", 4, 4, start_date="2026-02-02", authorised_date="2026-04-08"),
        of_child("assessment", 5, 5, start_date="2026-04-09"),
        of_child("care-episode", 6, 6, referral_date="2026-02-02", close_date="2026-03-01"),
        of_child("assessment", 6, 6, episode="lcs:care-episode:6", start_date="2026-02-02"),  # given up
        of_child("assessment", 7, 7, start_date="2026-03-25"),  # Wednesday: 7 more to 2 April (6), 7 April (7), 8 April (8)
    ]
    assert shown("assessments-open", "2026-04-08", "2026-04-08", world) == [
        {"age": "0 to 10 days", "assessments": 1, "overdue": 0},
        {"age": "36 to 45 days", "assessments": 2, "overdue": 0},
        {"age": "more than 45 days", "assessments": 1, "overdue": 1},
    ]


def test_a_conference_is_in_time_on_day_15_with_a_bank_holiday_between() -> None:
    # Friday 24 April is day 0; 4 May is a bank holiday, so Monday 18 May is day 15.
    world = [
        of_child("section-47-enquiry", 1, 1, start_date="2026-04-24", conference_date="2026-05-18", conference_required=True),
        of_child("section-47-enquiry", 2, 2, start_date="2026-04-25", conference_date="2026-05-18"),  # a Saturday
        of_child("section-47-enquiry", 3, 3, start_date="2026-04-24", conference_date="2026-05-19"),
        of_child("section-47-enquiry", 4, 4, start_date="2026-04-24", conference_required=False),  # cancelled
        of_child("section-47-enquiry", 5, 5, start_date="2026-04-24", conference_required=True),  # still to come
        of_child("section-47-enquiry", 6, 6, conference_date="2026-05-19"),
    ]
    [line] = shown("conferences-in-time", "2026-05-01", "2026-05-31", world)
    assert numbers(line, "conferences", "in_time", "late", "undated", "in_time_percent") == (4, 2, 1, 1, 66.7)


def test_a_conference_is_awaited_if_it_is_required_and_was_not_held_by_the_last_day() -> None:
    world = [
        of_child("section-47-enquiry", 1, 1, start_date="2026-04-24", conference_required=True),
        of_child("section-47-enquiry", 2, 2, start_date="2026-04-23", conference_required=True),
        of_child("section-47-enquiry", 3, 3, start_date="2026-04-24", conference_required=False),
        of_child("section-47-enquiry", 4, 4, start_date="2026-04-24"),
        of_child("section-47-enquiry", 5, 5, start_date="2026-04-24", conference_required=True, conference_date="2026-05-18"),
        of_child("section-47-enquiry", 6, 6, start_date="2026-04-24", conference_required=True, conference_date="2026-05-19"),
    ]
    assert shown("conferences-awaited", "2026-05-18", "2026-05-18", world) == [
        {"wait": "0 to 15 days", "enquiries": 2, "overdue": 0},
        {"wait": "16 to 30 days", "enquiries": 1, "overdue": 1},
    ]


def test_a_child_is_in_need_once_from_the_referral_until_the_day_of_closing() -> None:
    world = [
        of_child("care-episode", 1, 1, referral_date="2026-01-01", primary_need="N1"),
        of_child("care-episode", 2, 1, referral_date="2026-03-01", primary_need="N8"),  # a second open one
        of_child("care-episode", 3, 2, referral_date="2025-12-31", primary_need="N1"),  # three months to the day
        of_child("care-episode", 4, 3, referral_date="2025-03-01", close_date="2026-03-31", primary_need="N1"),
        of_child("care-episode", 5, 4, referral_date="2024-03-31", close_date="2026-04-01", primary_need="N1"),
        of_child("care-episode", 6, 5, referral_date="2026-03-31", no_further_action=True),
        of_child("care-episode", 7, 6, referral_date="2026-04-01"),
        of_child("care-episode", 8, 7, referral_date="2026-03-31"),
    ]
    found = shown("children-in-need", "2026-03-31", "2026-03-31", world)
    spans = ("under_3_months", "under_6_months", "under_1_year", "under_2_years", "over_2_years")
    assert [numbers(line, "need", "children", *spans, "median_days") for line in found] == [
        ("N1", 3, 1, 1, 0, 0, 1, 90.0),
        ("not known", 1, 1, 0, 0, 0, 0, 0.0),
    ]


def test_a_plan_counts_by_its_category_or_its_episode_s_need() -> None:
    plan = "care-plan"
    world = [
        of_child("care-episode", 1, 1, referral_date="2025-01-01", primary_need="N1"),
        of_child(plan, 1, 1, kind="CIN", episode="lcs:care-episode:1", start_date="2026-03-31"),
        of_child(plan, 2, 2, kind="CP", start_date="2024-03-31", initial_category="NEG", latest_category="EMO"),
        of_child(plan, 3, 3, kind="CP", start_date="2020-01-01", end_date="2021-01-01", initial_category="EMO"),
        of_child(plan, 4, 3, kind="CP", start_date="2026-01-01", initial_category="EMO"),
        of_child(plan, 5, 4, kind="CP", start_date="2026-01-01", end_date="2026-03-31", initial_category="EMO"),  # ended that day
        of_child(plan, 6, 5, kind="CP", initial_category="EMO"),  # nobody knows since when
    ]
    found = shown("plans", "2026-03-31", "2026-03-31", world)
    assert [numbers(line, "kind", "need", "plans", "under_3_months", "over_2_years", "again") for line in found] == [
        ("CIN", "N1", 1, 1, 0, 0),
        ("CP", "EMO", 2, 1, 1, 1),
    ]


def test_a_looked_after_child_s_placements_are_those_of_12_months_without_temporary_ones() -> None:
    home = "lcs:placement:{}".format
    world = [
        of_child("placement", 1, 1, start_date="2024-01-01", end_date="2025-03-30", placement_type="U1"),  # ended too early
        of_child("placement", 2, 1, start_date="2025-03-30", end_date="2025-03-31", placement_type="U1"),
        of_child("placement", 3, 1, start_date="2025-03-31", end_date="2026-01-01", placement_type="U1"),
        of_child("placement", 4, 1, start_date="2026-01-01", placement_type="K2"),
        of_child("looked-after-episode", 1, 1, start_date="2024-01-01", end_date="2026-01-01", placement=home(3)),
        of_child("looked-after-episode", 2, 1, start_date="2026-01-01", placement=home(4)),
        of_child("placement", 5, 2, start_date="2024-03-31", placement_type="K2"),  # two years to the day
        of_child("placement", 6, 2, start_date="2025-06-01", end_date="2025-06-02", placement_type="T1"),
        of_child("placement", 7, 2, start_date="2025-07-01", end_date="2025-07-02", placement_type="T1"),
        of_child("looked-after-episode", 3, 2, start_date="2024-03-31", placement=home(5)),
        of_child("looked-after-episode", 4, 3, start_date="2026-01-01", end_date="2026-03-31"),  # came home that day
        of_child("looked-after-episode", 5, 4, start_date="2026-01-01"),
        of_child("looked-after-episode", 6, 5, start_date="2026-01-01"),
        of_child("legal-status", 1, 5, legal_status="V4", start_date="2026-01-01"),  # short breaks
        of_child("legal-status", 2, 4, legal_status="V3", start_date="2025-01-01", end_date="2025-02-01"),
    ]
    found = shown("looked-after", "2026-03-31", "2026-03-31", world)
    names = ("placement_type", "children", "three_placements", "two_years", "three_placements_percent")
    assert [numbers(line, *names) for line in found] == [("K2", 2, 1, 1, 50.0), ("not known", 1, 0, 0, 0.0)]


def test_a_care_leaver_counts_by_the_latest_contact_of_the_range_and_the_age_on_the_last_day() -> None:
    def born(child: int, day: str) -> Entity:
        return made("person", child, birth_date=day)

    world = [
        born(1, "2008-03-31"), born(2, "2007-04-01"), born(3, "2008-04-01"), born(4, "2009-04-01"), born(5, "2003-03-31"),
        of_child("care-leaver", 1, 1, in_touch="NO", contact_date="2025-05-01", activity="G5"),
        of_child("care-leaver", 2, 1, in_touch="YES", contact_date="2026-03-31", activity="F2", accommodation_suitable="1"),
        of_child("care-leaver", 3, 1, in_touch="NO", contact_date="2026-04-01"),  # after the last day
        of_child("care-leaver", 4, 2, in_touch="REFU"),
        of_child("care-leaver", 5, 3, in_touch="YES", activity="0"),  # 17
        of_child("care-leaver", 6, 4, in_touch="YES"),  # 16
        of_child("care-leaver", 7, 5, in_touch="DIED"),
        of_child("care-leaver", 8, 6, in_touch="YES"),  # nobody knows how old
    ]  # fmt: skip
    found = shown("care-leavers", "2026-03-31", "2026-03-31", world)
    names = ("age", "care_leavers", "in_touch", "refused", "suitable", "active", "in_touch_percent")
    assert [numbers(line, *names) for line in found] == [
        (17, 1, 1, 0, 0, 0, 100.0),
        (18, 2, 1, 1, 1, 1, 50.0),
    ]
