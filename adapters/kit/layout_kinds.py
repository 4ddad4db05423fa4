"""
Files with records of several kinds: a header, what it heads, a trailer that says how many there were.

A layout reads the records of all kinds in the file's order, and hands them to a function of the system, which gives the rows to
publish, and refuses a file that does not agree with its own totals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from adapters.kit.layouts import Passed
from adapters.kit.rows import fields_of
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError, DoubtfulError


class FoundRow(NamedTuple):
    """A row of a file, with the row class that it is of. `line` is where it begins in the file, from 1, or its number."""

    kind: type
    row: Row
    line: int


Whole = Callable[[Iterator[FoundRow], frozenset[str]], Iterator[Row | Passed]]
"""
Reads a whole file's records and gives the rows to publish. It is told which doubts about the file a person has accepted, and
raises BadRecordError or DoubtfulError where the file does not hold together. A function of a module. Its name is no part of a
layout's `repr`, by which a file's digest tells that it is to be read anew: a change of code does that.
"""


def each_row(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row | Passed]:
    """Give the row of each record: for files whose records are all of one kind."""
    return (record.row for record in records)


def filled_in(kind: type, row: Row, **values: Any) -> Row:
    """Give a row the values of its `Filled` columns. One that could not be read stays one that cannot be."""
    filled = [values.get(its.name, value) for its, value in zip(fields_of(kind), row, strict=True)]
    return UnreadRow.of(filled, row.field, row.rule) if isinstance(row, UnreadRow) else tuple(filled)


def refused_file(rule: str, shape: str, fix: str = "ask for the file again, as the system made it") -> BadRecordError:
    """Make the error that refuses a file as a whole. Neither text may hold a value of the file."""
    return BadRecordError("the file", field="file", rule=rule, shape=shape, fix=fix)


def must_agree(what: str, said: Decimal | int | None, held: Decimal | int) -> None:
    """
    Hold a file to a total that it states; None if it states none.

    :raises BadRecordError: it holds something else. Both numbers are told: they are totals, and nobody's.
    """
    if said is not None and said != held:
        raise refused_file(f"says {what} {said}, and holds {held}", "a total that does not agree")


def should_agree(doubt: str, what: str, said: Decimal | int | None, held: Decimal | int, accepted: frozenset[str]) -> None:
    """
    Do the same where a person may accept that a file does not agree with itself; `doubt` is the word for that.

    :raises DoubtfulError: it holds something else, and nobody has accepted that.
    """
    if said is None or said == held or doubt in accepted:
        return
    raise DoubtfulError(
        "the file", doubt, field="file", rule=f"says {what} {said}, and holds {held}", shape="a total that does not agree",
        fix="ask for the file again, or accept it if all that it holds is right (`ironbridge held`)",
    )  # fmt: skip
