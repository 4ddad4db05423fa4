"""
Which children the DfE is sent: the cohort of the Early Adopters specification.

Its window runs from 1 April of the financial year in which the day 24 months ago lies, to tomorrow. Both days belong
to it. A date that is not recorded lies in no window.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

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


@dataclass(frozen=True, slots=True)
class Window:
    start: date
    end: date

    def __str__(self) -> str:
        return f"from {self.start:%-d %B %Y} to {self.end:%-d %B %Y}"

    def holds(self, day: date | None) -> bool:
        return day is not None and self.start <= day <= self.end

    def overlaps(self, start: date | None, end: date | None) -> bool:
        """Whether a time has days in common with the window; one without an end goes on."""
        return start is not None and start <= self.end and (end is None or end >= self.start)


@lru_cache(4)
def window(today: date) -> Window:
    """The window as seen on a day (Europe/London)."""
    year = today.year - 2 if today.month >= 4 else today.year - 3
    return Window(date(year, 4, 1), today + timedelta(days=1))


def outside(person: Person, facts: Facts) -> str:
    """Why a person is none whom the DfE is sent today; empty where it is one. Whoever has died is not left out."""
    span = window(facts.today)
    if not _eligible(person, span):
        return f"outside the DfE's cohort by the date of birth: nobody of up to 25, and no unborn child expected, {span}"
    if _known_to_social_care(facts, span) or _waiting(facts) or _care_leaver(person, facts, span):
        return ""
    return f"outside the DfE's cohort: no referral, plan or placement open and no care leaver in touch {span}"


def birthday(born: date, age: int) -> date:
    """When somebody reaches an age; who was born on 29 February, on the 28th where there is no 29th."""
    try:
        return born.replace(year=born.year + age)
    except ValueError:
        return date(born.year + age, 2, 28)


def _eligible(person: Person, span: Window) -> bool:
    """25 or younger at some point in the window, or unborn and expected in it."""
    if person.birth_date is None:
        return span.holds(person.expected_birth_date)
    return person.birth_date < span.end and birthday(person.birth_date, 26) > span.start


def _known_to_social_care(facts: Facts, span: Window) -> bool:
    episodes = {e.key for e in facts.all(CareEpisode) if span.overlaps(e.referral_date, e.close_date)}
    return (
        bool(episodes)
        or any(span.overlaps(plan.start_date, plan.end_date) for plan in facts.all(CarePlan))
        or any(looked_after.episode in episodes for looked_after in facts.all(LookedAfterEpisode))
        or any(span.overlaps(placement.start_date, placement.end_date) for placement in facts.all(Placement))
    )


def _waiting(facts: Facts) -> bool:
    """An open episode for which no assessment was started yet."""
    started = {a.episode for a in facts.all(Assessment) if a.start_date is not None}
    return any(e.close_date is None and e.key not in started for e in facts.all(CareEpisode))


def _care_leaver(person: Person, facts: Facts, span: Window) -> bool:
    """16 to 25 in the window, last contact in it, and an open episode."""
    contacts = [leaver.contact_date for leaver in facts.all(CareLeaver) if leaver.contact_date is not None]
    return (
        person.birth_date is not None
        and birthday(person.birth_date, 16) < span.end
        and span.holds(max(contacts, default=None))
        and any(episode.close_date is None for episode in facts.all(CareEpisode))
    )
