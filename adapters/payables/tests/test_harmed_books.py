"""Workbooks whose rows or bytes are harmed at random (seeded) publish no wrong amount, and lose or double none unsaid."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from adapters.payables.reading import Rules, read
from adapters.payables.tests.books import BOOKS
from adapters.payables.tests.test_books import HEAD, layout
from adapters.payables.tests.test_wholeness import money
from canonical.errors import BadRecordError

RULES = Rules("acme", {"list": layout()})
TRIES = 8  # for each kind of workbook and of harm: each opens a process
Rows = list[list[str | float]]


def rows_of(chance: random.Random) -> Rows:
    first = date(2024, 4, 1)
    paid = [f"{first + timedelta(days=chance.randrange(28)):%d/%m/%Y}" for _ in range(30)]
    lines: Rows = [
        [f"R{n}", f"Payee {chance.randrange(9)} Ltd", day, chance.randrange(-(10**5), 10**7) / 100] for n, day in enumerate(paid)
    ]
    return [list(HEAD), *lines]


def harmed(rows: Rows, chance: random.Random) -> Rows:
    """Rows cut off, doubled, or put in another order; a cell emptied or put beside its place."""
    rows = [list(row) for row in rows]
    at = chance.randrange(1, len(rows))
    match chance.choice(["cut", "double", "order", "empty", "shift", "cell"]):
        case "cut":
            return rows[:at]
        case "double":
            return [*rows[:at], *rows[at : at + 3], *rows[at:]]
        case "order":
            return [rows[0], *chance.sample(rows[1:], len(rows) - 1)]
        case "empty":
            rows[at][chance.randrange(4)] = ""
        case "shift":
            rows[at].insert(chance.randrange(4), "")
        case _:
            rows[at] = rows[at][: chance.randrange(1, 4)]
    return rows


@pytest.mark.parametrize("kind", BOOKS)
def test_a_workbook_whose_rows_are_harmed_publishes_no_other_amount_and_says_what_it_lacks(kind: str) -> None:
    chance = random.Random(f"rows of {kind}")
    rows = rows_of(chance)
    right = money(read("april", BOOKS[kind]({"April": rows}), RULES))
    for _ in range(TRIES):
        less = harmed(rows, chance)
        try:
            found = read("april", BOOKS[kind]({"April": less}), RULES)
        except BadRecordError:
            continue
        assert found.reckoning.accounted == found.reckoning.rows == len(less)
        more = money(found) - right
        assert sum(more.values()) <= found.reckoning.duplicates, more


@pytest.mark.parametrize("kind", BOOKS)
def test_a_workbook_that_was_cut_off_at_any_byte_or_pasted_twice_is_refused_or_whole(kind: str) -> None:
    chance = random.Random(f"bytes of {kind}")
    data = BOOKS[kind]({"April": rows_of(chance)})
    right = money(read("april", data, RULES))
    cuts = [data[: chance.randrange(8, len(data))] for _ in range(TRIES)]
    for torn in [*cuts, data[:-1], data[:-600], data + data]:
        try:
            found = read("april", torn, RULES)
        except BadRecordError:
            continue
        assert money(found) == right
