"""Days that stand for none: an end that never comes, a day that nobody knows."""

from datetime import date, datetime

import pytest

from adapters.liquidlogic.quirks import day

OPEN = [date.max, date.min, date(9999, 12, 31), date(2999, 12, 31), date(1900, 1, 1), date(1753, 1, 1)]


@pytest.mark.parametrize("written", OPEN)
def test_a_day_that_stands_for_none_is_no_day(written: date) -> None:
    assert day(written, "FACT_REFERRALS.REFRL_END_DTTM") is None
    at = datetime(written.year, written.month, written.day, 23, 59)  # noqa: DTZ001 (as databases give them)
    assert day(at, "FACT_REFERRALS.REFRL_END_DTTM") is None


def test_a_day_is_a_day() -> None:
    assert day(date(2024, 5, 6), "FACT_REFERRALS.REFRL_END_DTTM") == date(2024, 5, 6)
