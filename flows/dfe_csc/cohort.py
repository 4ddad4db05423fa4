"""
This module tells which children the DfE is sent: the cohort of the Early Adopters specification.

Its window runs from 1 April of the financial year in which the day 24 months ago lies, to tomorrow. Both days belong
to it. A date that is not recorded lies in no window. The window is only ever asked whether it has reached a day, or left it
behind, so a child is looked at again on the day on which that may change, and not every day.
"""

from __future__ import annotations

from datetime import MAXYEAR, date, timedelta

from canonical import (
    Assessment,
    CareEpisode,
    CareLeaver,
    CarePlan,
    LookedAfterEpisode,
    Person,
    Placement,
)
from flows.port import Facts

_DAY = timedelta(days=1)


class Window:
    """The window on the day of some facts."""

    def __init__(self, facts: Facts) -> None:
        self._has_come = facts.has_come

    def reaches(self, day: date) -> bool:
        """Tell whether a day is not behind the window's end."""
        return day == date.min or self._has_come(day - _DAY)

    def left_behind(self, day: date) -> bool:
        """Tell whether a day is before the window's beginning."""
        return self._has_come(leaves(day))

    def holds(self, day: date | None) -> bool:
        return day is not None and self.reaches(day) and not self.left_behind(day)

    def overlaps(self, start: date | None, end: date | None) -> bool:
        """Tell whether a time has days in common with the window; one without an end goes on."""
        return start is not None and self.reaches(start) and (end is None or not self.left_behind(end))


def leaves(day: date) -> date:
    """The first day (Europe/London) whose window begins after `day`."""
    year = day.year + (3 if day.month >= 4 else 2)
    return date(year, 4, 1) if year <= MAXYEAR else date.max


def outside(person: Person, facts: Facts) -> str:
    """Say why the DfE is not sent a person today; empty where it is one. Whoever has died is not left out."""
    window = Window(facts)
    if not _eligible(person, facts, window):
        return f"outside the DfE's cohort by the date of birth: nobody of up to 25, and no unborn child expected, {_WHEN}"
    if _known_to_social_care(facts, window) or _waiting(facts) or _care_leaver(person, facts, window):
        return ""
    return f"outside the DfE's cohort: no referral, plan or placement open and no care leaver in touch {_WHEN}"


# A reason that named the window's days would be another one every day.
_WHEN = "between the beginning of the financial year of two years ago and tomorrow"


def birthday(born: date, age: int) -> date:
    """Tell when somebody reaches an age; who was born on 29 February, on the 28th where there is no 29th."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 2, 28)


def _eligible(person: Person, facts: Facts, window: Window) -> bool:
    """25 or younger at some point in the window, or unborn and expected in it."""
    born = person.birth_date
    if born is None:
        return window.holds(person.expected_birth_date)
    return facts.has_come(born) and not window.left_behind(birthday(born, 26) - _DAY)


def _known_to_social_care(facts: Facts, window: Window) -> bool:
    episodes = {e.key for e in facts.all(CareEpisode) if window.overlaps(e.referral_date, e.close_date)}
    return (
        bool(episodes)
        or any(window.overlaps(plan.start_date, plan.end_date) for plan in facts.all(CarePlan))
        or any(looked_after.episode in episodes for looked_after in facts.all(LookedAfterEpisode))
        or any(window.overlaps(placement.start_date, placement.end_date) for placement in facts.all(Placement))
    )


def _waiting(facts: Facts) -> bool:
    """An open episode for which no assessment was started yet."""
    started = {a.episode for a in facts.all(Assessment) if a.start_date is not None}
    return any(e.close_date is None and e.key not in started for e in facts.all(CareEpisode))


def _care_leaver(person: Person, facts: Facts, window: Window) -> bool:
    """16 to 25 in the window, last contact in it, and an open episode."""
    contacts = [leaver.contact_date for leaver in facts.all(CareLeaver) if leaver.contact_date is not None]
    return (
        person.birth_date is not None
        and facts.has_come(birthday(person.birth_date, 16))
        and window.holds(max(contacts, default=None))
        and any(episode.close_date is None for episode in facts.all(CareEpisode))
    )
