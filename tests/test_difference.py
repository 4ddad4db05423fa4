"""Regions: where they are cut, and how little of them an edit touches."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.engine.regions import LAST_REGION, MEAN_REGION, Region, Regions, region
from adapters.port import Record

SALT = b"edition"


def record(number: int, value: str = "") -> Record:
    return Record(f"legacy:care-episode:{number}", (number,), (number, value))


def cut(records: list[Record], page: int = 1000, mean: int = 8) -> list[Region]:
    regions, complete = Regions(SALT, mean), []
    for start in range(0, len(records), page):
        complete += regions.add(records[start : start + page])
    return complete + regions.end()


def named(regions: list[Region]) -> dict[str, bytes]:
    return {each.name: each.digest for each in regions}


def touched(before: list[Region], after: list[Region]) -> set[str]:
    """The regions that are compared row by row when one reading follows the other."""
    had = named(before)
    return {name for name, digest in named(after).items() if had.get(name) != digest}


@given(st.sets(st.integers(0, 5000), max_size=400), st.integers(1, 60), st.integers(1, 60))
def test_regions_hold_every_record_in_order_wherever_the_pages_were_cut(
    numbers: set[int], page: int, other: int
) -> None:
    records = [record(number) for number in sorted(numbers)]
    regions = cut(records, page)
    assert [r for each in regions for r in each.records] == records
    first, second = ([(r.name, r.records, r.digests, r.digest) for r in each] for each in (regions, cut(records, other)))
    assert first == second
    assert len(named(regions)) == len(regions)


@given(st.sets(st.integers(0, 20000), min_size=1, max_size=300), st.integers(0, 20000))
@settings(max_examples=300)
def test_an_insert_or_a_delete_touches_at_most_two_regions(numbers: set[int], number: int) -> None:
    without = [record(n) for n in sorted(numbers - {number})]
    inserted = [record(n) for n in sorted(numbers | {number})]
    # Where no key ends a region for 8 times the mean, one is cut by force, and an insert moves that cut.
    if all(len(each.records) < 60 for each in cut(inserted)):
        assert 1 <= len(touched(cut(without), cut(inserted))) <= 2
        assert len(touched(cut(inserted), cut(without))) <= 1


def test_a_changed_row_touches_its_own_region_only() -> None:
    records = [record(n) for n in range(500)]
    changed = [*records[:77], record(77, "other"), *records[78:]]
    (name,) = touched(cut(records), cut(changed))
    assert record(77, "other") in next(each for each in cut(changed) if each.name == name).records


def test_regions_are_about_as_long_as_they_should_be() -> None:
    lengths = [len(each.records) for each in cut([record(n) for n in range(100_000)], mean=MEAN_REGION)]
    assert 400 < 100_000 / len(lengths) < 640
    assert max(lengths) <= 8 * MEAN_REGION


def test_rows_without_any_boundary_are_cut_by_force() -> None:
    never = [n for n in range(5000) if len(cut([record(n), record(n + 10_000)])) == 1][:200]
    assert [len(each.records) for each in cut([record(n) for n in never])] == [64, 64, 64, 8]


@given(st.integers(0, 200), st.integers(2, 5), st.integers(1, 7))
def test_rows_of_one_key_are_never_parted(number: int, times: int, page: int) -> None:
    records = [r for n in range(number + 20) for r in [record(n)] * (times if n == number else 1)]
    holding = [each for each in cut(records, page) if record(number) in each.records]
    assert [each.records.count(record(number)) for each in holding] == [times]


def test_the_last_region_is_the_open_end_whatever_key_it_ends_with() -> None:
    ends = next(n for n in range(100) if len(cut([record(n), record(200)])) == 2)
    stays = next(n for n in range(100) if len(cut([record(n), record(200)])) == 1)
    assert [cut([record(n)])[0].name for n in (ends, stays)] == [LAST_REGION, LAST_REGION]
    assert cut([record(ends), record(200)])[0].name == record(ends).key


@pytest.mark.parametrize("value", [None, 1, 1.0, "1", b"1", True, "", (1,)])
def test_values_that_differ_in_type_differ_in_digest(value: object) -> None:
    others = [None, 1, 1.0, "1", b"1", True, "", (1,)]
    regions = [region("", [Record("k", (1,), (other,))], SALT) for other in [*others, value]]
    assert len({each.digest for each in regions}) == len({each.digests[0] for each in regions}) == len(others)


def test_another_edition_makes_every_digest_another() -> None:
    records = [record(n) for n in range(20)]
    first, second = region("", records, b"1"), region("", records, b"2")
    assert first.digest != second.digest
    assert not set(first.digests) & set(second.digests)


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=4))
def test_where_one_row_ends_and_the_next_begins_is_in_the_digest(rows: list[tuple[str, str]]) -> None:
    """Values that a row takes over from its neighbour make another region."""
    other = [(a, b) for (a, _), (b, _) in zip(rows, rows[1:] + rows[:1], strict=True)]
    digests = [region("", [Record(f"k{n}", (n,), row) for n, row in enumerate(each)], SALT).digest for each in (rows, other)]
    assert (digests[0] == digests[1]) == (rows == other)


def test_a_random_table_edited_at_random_is_compared_in_few_rows() -> None:
    rng = random.Random(7)
    rows = dict.fromkeys(range(4_000), "")
    compared = 0
    for _ in range(20):
        before = cut([record(n, v) for n, v in sorted(rows.items())], mean=16)
        rows[rng.randrange(6_000)] = str(rng.random())
        rows.pop(rng.choice(list(rows)))
        after = cut([record(n, v) for n, v in sorted(rows.items())], mean=16)
        names = touched(before, after)
        compared += sum(len(each.records) for each in after if each.name in names)
    assert compared / 20 < 6 * 16
