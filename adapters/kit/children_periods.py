"""
These are rules of the CIN census and of the SSDA903 return about days and spans of time.

Children's systems keep what happened when. What a return asks for besides, such as the reason why an episode began, shows
in how these spans follow one another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")

Span = tuple[date | None, date | None, T]
"""The first day and the last one of something, and what it was. An empty day is an open end."""


class LocalAuthorityStay(Protocol):
    """An episode of care: one legal status and one placement with one carer."""

    @property
    def start_date(self) -> date | None: ...

    @property
    def legal_status_id(self) -> int: ...

    @property
    def placement_id(self) -> int: ...

    @property
    def carer_id(self) -> int | None: ...

    @property
    def placement_type(self) -> str | None: ...


def open_on(day: date | None, numbered: Iterable[tuple[int, date | None, date | None]]) -> int | None:
    """The number of the span that was open on a day: of several the one that began last. A span needs a first day."""
    if day is None:
        return None
    still = [(start, number) for number, start, end in numbered if start and start <= day and (end is None or end >= day)]
    return max(still)[1] if still else None


def held_or_came(opened: date | None, closed: date | None, spans: Iterable[Span[str | None]]) -> str | None:
    """Give what held on the day on which a period opened, of several the last one; else what came first within the period."""
    begin, end = opened or date.min, closed or date.max
    # Databases differ in where an empty start stands.
    known = sorted((first or date.min, last or date.max, what) for first, last, what in spans if what)
    at_once = [what for first, last, what in known if first <= begin <= last]
    later = [what for first, _, what in known if begin < first <= end]
    return at_once[-1] if at_once else later[0] if later else None


def latest_within(begin: date | None, end: date | None, spans: Iterable[Span[str | None]]) -> str | None:
    """Give what began last of all that held on some day between two."""
    known = [(first or date.min, last or date.max, what) for first, last, what in spans if what]
    within = [each for each in known if each[0] <= (end or date.max) and each[1] >= (begin or date.min)]
    return max(within, key=lambda each: each[0])[2] if within else None


def came_last(known: Iterable[tuple[date | None, T | None]]) -> T | None:
    """Give what began last of all that is there; of several on one day the last one."""
    found = [what for _, what in sorted(known, key=lambda each: each[0] or date.min) if what]
    return found[-1] if found else None


def first_after(began: date | None, days: Iterable[date | None], most: int) -> date | None:
    """The first of some days that lies on the day on which something began, or up to so many days behind it."""
    behind = timedelta(0), timedelta(most)
    near = [day for day in days if day and began and behind[0] <= day - began <= behind[1]]
    return min(near, default=None)


def last_of(days: Iterable[date | None]) -> date | None:
    """The last of the days that are there."""
    return max((day for day in days if day), default=None)


def ended(days: Sequence[date | None]) -> date | None:
    """The end of what goes on in several parts: the last of their ends, and none while one of them goes on."""
    return None if None in days else last_of(days)


class Categories(NamedTuple):
    """The categories of abuse with which a plan began, and those that it had last."""

    initial: str | None
    latest: str | None


def categories(spans: Sequence[Span[str | None]]) -> Categories:
    """The categories of a child protection plan. Several on one day are the census's MUL."""
    starts = [first or date.min for first, _, _ in spans]
    return Categories(_category(spans, min(starts, default=date.min)), _category(spans, max(starts, default=date.min)))


def _category(spans: Sequence[Span[str | None]], day: date) -> str | None:
    known = [(first or date.min, last or date.max, code) for first, last, code in spans]
    codes = {code for first, last, code in known if code and first <= day and (day < last or first == day)}
    return "MUL" if len(codes) > 1 else next(iter(codes), None)


def start_reason(
    own: LocalAuthorityStay | None, period: Iterable[LocalAuthorityStay], period_began: date | None
) -> str | None:
    """
    Tell why an episode began (SSDA903 RNE), if the system does not keep it: it shows in what differs from the one before.
    `own` is the episode as one of its `period`; without it nothing is known.

    S: the period of care began. L: another legal status. P: another placement; T: another type of placement with the same
    carer. Both at once are U with the same carer, and B with another one.
    """
    if own is None:
        return None
    began = own.start_date or date.max
    before = [each for each in period if each.start_date is not None and each.start_date < began]
    if not before:
        return "S" if period_began in (None, own.start_date) else None
    last = max(before, key=lambda each: each.start_date or date.min)
    same_carer = own.carer_id is not None and own.carer_id == last.carer_id
    other_type = own.placement_type != last.placement_type
    # A placement that was cut in two keeps its number, and is the same one.
    moved = own.placement_id != last.placement_id or own.carer_id != last.carer_id or other_type
    if own.legal_status_id != last.legal_status_id:
        return "L" if not moved else "U" if same_carer else "B"
    return "T" if same_carer and other_type else "P"


def end_reason(start: date | None, end: date | None, starts: Iterable[Any], recorded: str | None) -> str | None:
    """
    Tell why an episode ceased (SSDA903 REC): the recorded reason is the last episode's; one that another follows at once
    ceased with X1. `starts` are the first days of the period's episodes.
    """
    if end is None:
        return None
    follows = (end, end + timedelta(days=1)) if end < date.max else ()
    return "X1" if any(day in follows and day != start for day in starts) else recorded
