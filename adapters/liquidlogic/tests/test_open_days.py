"""Days that stand for none in Liquidlogic: an end that never comes, a day that nobody knows."""

from datetime import date, datetime

import pytest

from adapters.liquidlogic import LiquidlogicSettings, system
from adapters.liquidlogic.quirks import answered_day
from canonical import CareEpisode

OPEN = [date.max, date.min, date(9999, 12, 31), date(2999, 12, 31), date(1900, 1, 1), date(1753, 1, 1), date(215, 5, 1)]


def closed(end: date, **settings: object) -> date | None:
    """The day on which a referral closes that ends so in the warehouse."""
    given = LiquidlogicSettings.model_validate({"url": "sqlite:///hdm.db", **settings})
    adapter = system.build("liquidlogic", given)
    stream = next(each for each in adapter.streams() if each.name == "care-episode")
    names = [str(column.key) for column in adapter.readings["care-episode"].columns]  # type: ignore[attr-defined]
    at = datetime(end.year, end.month, end.day, 23, 59)  # noqa: DTZ001 (as databases give them)
    told = {"FACT_REFERRAL_ID": 1, "DIM_PERSON_ID": 2, "REFRL_START_DTTM": datetime(2024, 1, 1), "REFRL_END_DTTM": at}  # noqa: DTZ001
    parts = len(adapter.readings["care-episode"].parts)  # type: ignore[attr-defined]
    entity = stream.map((*(told.get(name) for name in names), *[()] * parts))
    assert isinstance(entity, CareEpisode)
    return entity.close_date


@pytest.mark.parametrize("end", OPEN)
def test_an_end_on_a_day_that_stands_for_none_is_open(end: date) -> None:
    assert closed(end) is None


def test_which_days_stand_for_none_is_a_setting() -> None:
    assert closed(date(2098, 12, 31)) == date(2098, 12, 31)
    assert closed(date(2098, 12, 31), no_days=["2098-12-31"]) is None
    assert closed(date(9999, 12, 31), no_days=["2098-12-31"]) is None, "no day of Liquidlogic lies so far ahead"


def test_an_answer_in_a_form_may_stand_for_no_day_too() -> None:
    assert answered_day("31/12/9999", "FACT_FORM_ANSWERS.ANSWER") is None
    assert answered_day("06/05/2024", "FACT_FORM_ANSWERS.ANSWER") == date(2024, 5, 6)
