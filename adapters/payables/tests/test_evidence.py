"""A file is evidence, too: what a person accepts of one file, and files that are the same under two names."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.engine.guard import allowance
from adapters.payables import system
from adapters.testing import Bench

HEAD = "Payee,Paid On,Amount\n"
FIVE = HEAD + "".join(f"Payee {n} Ltd,0{n}/04/2024,{n}.50\n" for n in range(1, 6))
COLUMNS = {"supplier_name": "Payee", "payment_date": "Paid On", "net": "Amount"}
LAYOUT = {"title": "a list without numbers", "columns": COLUMNS, "document": ["supplier"], "unnumbered": "single"}


def bench(folder: Path, **settings: Any) -> Bench:
    given = {"folders": [str(folder)], "settle": timedelta(0), "layouts": [], "own_layouts": {"list": LAYOUT}}
    return Bench(system.build("payables", system.settings(**{**given, **settings})))


def put(path: Path, text: str, age: int) -> Path:
    path.write_text(text)
    stamp = path.parent.stat().st_mtime - age
    os.utime(path, (stamp, stamp))
    return path


def paid(here: Bench) -> int:
    return sum(":invoice:" in key for key in here.log.state())


def told(here: Bench) -> list[str]:
    return [problem.rule for problem in here.problems().values()]


def allow(here: Bench, what: str) -> None:
    """What `ironbridge held allow` does."""
    entries = here.state.of("payables").guarded
    region, name = next(each for each in entries if each[1].startswith(what))
    entries[region, name] = replace(entries[region, name], allowed=allowance(entries[region, name].held))


async def test_a_doubt_about_a_refused_file_ends_when_the_file_is_taken_away(tmp_path: Path) -> None:
    here, wrong = bench(tmp_path), FIVE + "Grand total,,17.49\n"
    file = put(tmp_path / "april.csv", wrong, 900)
    await here.read()
    assert len(here.waiting("payables")) == 1
    file.unlink()
    await here.read()
    assert (told(here), here.waiting("payables")) == ([], {})
    put(tmp_path / "april.csv", wrong, 900)
    await here.read()
    assert (len(told(here)), len(here.waiting("payables"))) == (1, 1)


async def test_a_doubtful_file_that_was_mended_and_comes_again_can_be_accepted_again(tmp_path: Path) -> None:
    here, wrong = bench(tmp_path), FIVE + "Grand total,,17.49\n"
    for text, waiting in [(wrong, 1), (FIVE, 0), (wrong, 1)]:
        put(tmp_path / "april.csv", text, 900)
        await here.read()
        assert len(here.waiting("payables")) == waiting
    allow(here, "accept total")
    await here.read()
    assert (paid(here), told(here), here.waiting("payables")) == (5, [], {})


async def test_a_wrong_total_is_accepted_by_a_person_for_that_one_file(tmp_path: Path) -> None:
    here, wrong = bench(tmp_path), FIVE + "Grand total,,17.49\n"
    put(tmp_path / "april.csv", wrong, 900)
    assert (await here.read(), paid(here)) == ([], 0)
    assert told(here) == ["is a total that the rows above it do not add up to"]
    ((file, what),) = here.waiting("payables")
    assert (file, what.split()[:2]) == ("april", ["accept", "total"])
    assert await here.read() == []  # nothing changes until a person has said so
    allow(here, "accept total")
    await here.read()
    assert (paid(here), told(here), here.waiting("payables")) == (5, [], {})

    here.edition = "2"  # the same file, read anew: it stays accepted
    await here.read()
    assert (paid(here), told(here)) == (5, [])
    put(tmp_path / "april.csv", wrong.replace("17.49", "17.48"), 800)  # another content is another question
    await here.read()
    assert told(here) == ["is a total that the rows above it do not add up to"]
    put(tmp_path / "april.csv", FIVE + "Grand total,,17.50\n", 700)
    await here.read()
    assert (told(here), here.waiting("payables")) == ([], {})


async def test_each_doubt_of_a_file_is_accepted_by_itself(tmp_path: Path) -> None:
    here = bench(tmp_path)
    put(tmp_path / "april.csv", FIVE + "Grand total,,17.49", 900)
    await here.read()
    for doubt in ("end", "total"):
        assert [what.split()[1] for _, what in here.waiting("payables")] == [doubt]
        allow(here, f"accept {doubt}")
        await here.read()
    assert (paid(here), told(here)) == (5, [])


async def test_a_large_file_is_accepted_in_its_own_process_too(tmp_path: Path) -> None:
    here = bench(tmp_path)
    rows = "".join(f"Payee {n} and a long name to make it large Ltd,01/04/2024,{n}.50\n" for n in range(1, 4500))
    put(tmp_path / "april.csv", HEAD + rows + "Total,,1.00\n", 900)
    assert await here.read() == []
    allow(here, "accept total")
    await here.read()
    assert paid(here) == 4499


@pytest.mark.parametrize("taken_away", [True, False])
async def test_the_same_content_under_another_name_is_said_and_not_paid_twice(tmp_path: Path, taken_away: bool) -> None:
    here = bench(tmp_path)
    first = put(tmp_path / "Aug-24.csv", FIVE, 900)
    await here.read()
    second = put(tmp_path / "2024-08.csv", FIVE, 500)
    if taken_away:
        first.unlink()
    for edition in ("1", "1", "2"):
        here.edition = edition
        await here.read()
        assert paid(here) == 5
        assert len(told(here)) == 1
        assert "the same as the extract Aug-24" in told(here)[0]
    second.unlink()
    await here.read()
    assert (paid(here), told(here)) == (5, [])


async def test_a_renamed_file_that_is_corrected_is_not_paid_twice_and_its_old_name_mends_it(tmp_path: Path) -> None:
    here = bench(tmp_path)
    put(tmp_path / "Aug-24.csv", FIVE, 900)
    await here.read()
    (tmp_path / "Aug-24.csv").rename(tmp_path / "2024-08.csv")
    await here.read()
    put(tmp_path / "2024-08.csv", FIVE.replace("5.50", "6.50"), 400)
    for _ in range(2):
        assert await here.read() == []
        assert told(here) == ["was first the same as the extract Aug-24"]
    (tmp_path / "2024-08.csv").rename(tmp_path / "Aug-24.csv")
    await here.read()
    assert (paid(here), told(here)) == (5, [])


async def test_a_file_that_was_named_so_by_mistake_is_read_once_it_has_its_own_content(tmp_path: Path) -> None:
    here = bench(tmp_path)
    put(tmp_path / "august.csv", FIVE, 900)
    put(tmp_path / "september.csv", FIVE, 800)
    await here.read()
    put(tmp_path / "september.csv", FIVE.replace("/04/", "/09/"), 700)
    await here.read()
    assert (paid(here), told(here)) == (10, [])


async def test_two_months_of_headings_alone_are_no_copies(tmp_path: Path) -> None:
    here = bench(tmp_path)
    for name in ("august", "september"):
        put(tmp_path / f"{name}.csv", HEAD, 900)
    await here.read()
    assert told(here) == []


async def test_a_document_lives_as_long_as_its_copy_does(tmp_path: Path) -> None:
    numbered = {**LAYOUT, "columns": {**COLUMNS, "number": "Ref"}, "document": ["number", "supplier"]}
    here = bench(tmp_path, own_layouts={"list": numbered})
    rows = [f"Payee {n} Ltd,01/04/2024,{n}.00,R{n}\n" for n in range(1, 4)]
    head = "Payee,Paid On,Amount,Ref\n"
    put(tmp_path / "Q1.csv", head + "".join(rows), 900)
    put(tmp_path / "Q2.csv", head + "".join(rows), 800)
    await here.read()
    put(tmp_path / "Q1.csv", head + rows[0], 700)
    await here.read()
    assert paid(here) == 3


async def test_headings_alone_delete_nothing_and_say_so(tmp_path: Path) -> None:
    here = bench(tmp_path)
    put(tmp_path / "april.csv", FIVE, 900)
    await here.read()
    put(tmp_path / "april.csv", HEAD, 800)
    await here.read()
    assert (paid(here), here.waiting("payables")) == (5, {("april", "deleted"): 5})
    allow(here, "deleted")
    await here.read()
    assert (paid(here), here.waiting("payables")) == (0, {})
