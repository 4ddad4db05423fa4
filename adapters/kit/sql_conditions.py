"""These conditions and expressions suit what old systems write into their columns, and every database understands them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, case, extract, func, or_

from adapters.kit.sql_tables import Choice


def plain(code: ColumnElement[Any]) -> ColumnElement[Any]:
    """A code without the blanks that pad it, in capitals: entries and tables differ in both."""
    return func.upper(func.rtrim(code))


def plain_or_blank(code: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same, and blank where it is null, so that `NOT IN` holds."""
    return func.coalesce(plain(code), "")


def is_none_of(code: ColumnElement[Any], values: Collection[str]) -> ColumnElement[bool]:
    """A code that is empty, or none of these."""
    return or_(code.is_(None), plain(code).not_in(values))


def said_yes(flag: ColumnElement[Any]) -> ColumnElement[bool]:
    """A flag of Y and N, in either case; an index on it still serves."""
    return flag.in_(("Y", "y"))


def not_said_yes(flag: ColumnElement[Any]) -> ColumnElement[bool]:
    """A flag that is empty, or anything but Y."""
    return or_(flag.is_(None), flag.not_in(("Y", "y")))


def on_one_day(begun: ColumnElement[Any], ended: ColumnElement[Any]) -> ColumnElement[bool]:
    """Two moments of one day."""
    return and_(*[extract(part, begun) == extract(part, ended) for part in ("year", "month", "day")])


def months_since(moment: ColumnElement[Any]) -> ColumnElement[Any]:
    """
    The months from a moment to today, by the source's clock, as the calendar counts them.

    Whole months, because databases agree on nothing else about the distance of two days.
    """
    today = func.current_timestamp()
    return 12 * (extract("year", today) - extract("year", moment)) + extract("month", today) - extract("month", moment)


def answers_to(
    question: ColumnElement[Any], asked: Mapping[str, Iterable[str]], meant: Mapping[str, ColumnElement[bool]] | None = None
) -> Choice | None:
    """
    The rows with answers to some questions. `asked` gives the question's codes for each name that the answer is to have, as
    the joined column `question`. An answer of which a condition in `meant` holds has its name instead. None if no question
    has a code.
    """
    named = {name: [code.strip().upper() for code in codes] for name, codes in asked.items()}
    named = {name: codes for name, codes in named.items() if codes}
    if not named:
        return None
    code = plain(question)
    special = [(condition, name) for name, condition in (meant or {}).items()]
    name = case(*special, *[(code.in_(codes), name) for name, codes in named.items()])
    return Choice(where=code.in_([each for codes in named.values() for each in codes]), joined={"question": name})
