"""Adapters of files: what a CSV file may look like, which file is which extract, and what becomes of rows with one key."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, BinaryIO, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kit.delimited import Delimited
from adapters.kit.files import FilesAdapter, FilesSettings, FileStream
from adapters.kit.layouts import HowWritten, Layout, Passed
from adapters.kit.rows import DayWritten, row_of
from adapters.kit.scratch import TWICE
from adapters.kit.split import Split
from adapters.kit.typed import row_key
from adapters.port import Extract, Files, Record, Row, Stream, UnreadRow
from adapters.testing import Bench, whole
from canonical import Person
from canonical.errors import BadRecordError, DoubtfulError, MisconfiguredError, UnavailableError
from canonical.people import Name
from ironbridge.observe.watchdog import HoldUp


@row_of("tenants", key=("number", "born"))
class FiledTenant(NamedTuple):
    number: int
    surname: str | None
    born: Annotated[date, DayWritten("%d/%m/%Y")]


def tenant(source: str, row: FiledTenant) -> Person:
    return Person(key=row_key(source, "person", row), names=(Name(family=row.surname),), birth_date=row.born)


TENANTS = Delimited(FiledTenant)
HEAD = b"Number,Surname,Born\n"
TWO = HEAD + b"7,Darby,17/03/1711\n8,Rose,01/02/1750\n"


def read(data: bytes, layout: Layout = TENANTS) -> list[Row | Passed]:
    return list(layout.rows(io.BytesIO(data)))


# -- CSV -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        TWO,
        b"\xef\xbb\xbf" + TWO,
        TWO.replace(b"\n", b"\r\n") + b"\x1a",
        TWO.replace(b"\n", b"\r"),
        TWO.decode().encode("utf-16"),
        b"Born,Rent,Surname,Number\n17/03/1711,1.00, Darby ,7\n01/02/1750,,Rose,8\n",
        TWO.replace(b"\n", b",,\n"),
    ],
    ids=["plain", "bom", "dos", "old-mac", "utf-16", "other-order-and-blanks", "empty-cells-behind"],
)
def test_a_file_is_read_by_the_names_in_its_first_line(data: bytes) -> None:
    assert read(data) == [("7", "Darby", "17/03/1711"), ("8", "Rose", "01/02/1750")]


def test_blank_lines_and_repeated_headings_are_passed_over_and_told() -> None:
    found = read(b"\n" + TWO + b"\n,,\n" + HEAD + b"9,Maw,02/02/1750\n")
    assert [each.kind if isinstance(each, Passed) else each[0] for each in found] == [
        "7", "8", "blank lines", "blank lines", "repeated headings", "9",
    ]  # fmt: skip


@pytest.mark.parametrize(("line", "cells"), [(b"9,Maw", 2), (b"9,Maw,Jane,02/02/1750", 4)])
def test_a_row_with_fewer_or_more_cells_is_not_read(line: bytes, cells: int) -> None:
    *_, row = read(TWO + line + b"\n")
    assert isinstance(row, UnreadRow)
    assert (row.field, row.rule) == ("the row", f"has {cells} cells, and the first line has 3")


def test_all_missing_columns_are_named_at_once_and_so_is_one_that_stands_twice() -> None:
    with pytest.raises(BadRecordError) as missing:
        read(b"Number,Address\n7,Wharfage\n")
    assert (missing.value.field, missing.value.rule) == ("surname, born", "the file has no such column")
    with pytest.raises(BadRecordError) as doubled:
        read(b"Number,Surname,Born,NUMBER\n7,Darby,17/03/1711,8\n")
    assert (doubled.value.field, doubled.value.rule) == ("number", "the file has two such columns")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"  \r\n\x1a"])
def test_a_file_without_a_line_is_empty(data: bytes) -> None:
    with pytest.raises(BadRecordError, match="file: is empty"):
        read(data)


def test_a_file_whose_last_line_has_no_end_is_in_doubt() -> None:
    torn = TWO.rstrip(b"\n")
    with pytest.raises(DoubtfulError, match="ends in the middle of a line"):
        read(torn)
    assert read(torn, TENANTS.written(HowWritten(accepted=frozenset({"end"})))) == read(TWO)
    open_ended = TENANTS.written(HowWritten(last_line="open"))
    assert read(torn, open_ended) == read(TWO)
    with pytest.raises(DoubtfulError, match="ends in the middle of a row"):
        read(torn.removesuffix(b",01/02/1750"), open_ended)


def test_a_quoted_cell_that_holds_another_row_puts_the_file_in_doubt_and_a_line_break_does_not() -> None:
    assert read(HEAD + b'7,"Dar\nby, or so",17/03/1711\n') == [("7", "Dar\nby, or so", "17/03/1711")]
    with pytest.raises(DoubtfulError, match="a quote may not be closed"):
        read(HEAD + b'7,"Darby,17/03/1711\n8,Rose,01/02/1750\n9,Maw",02/02/1750\n')
    with pytest.raises(BadRecordError, match="is not text that a CSV reader understands"):
        read(HEAD + b'7,"Darby,17/03/1711\n8,Rose,01/02/1750\n')


@pytest.mark.parametrize("harm", [b"\0", b"\x81\xb0"])
def test_bytes_that_are_no_text_refuse_the_file(harm: bytes) -> None:
    with pytest.raises(BadRecordError, match="encoding"):
        read(TWO + b"9,M" + harm + b"w,02/02/1750\n")


def test_an_encoding_is_taken_where_only_one_is_possible_or_the_rows_are_the_same() -> None:
    decided = HEAD + "7,O’Neill,17/03/1711\n".encode("cp1252")
    assert read(decided) == [("7", "O’Neill", "17/03/1711")]
    in_doubt = HEAD + b"7,Caf\xe9,17/03/1711\n"  # an accent of Windows, a capital theta of DOS
    assert read(in_doubt) == [("7", "Café", "17/03/1711")]
    either = HEAD + b"7,D\xa0l,17/03/1711\n"  # a blank of Windows, an accent of DOS
    with pytest.raises(BadRecordError, match="may be cp1252 or cp850, and the rows would differ"):
        read(either)
    assert read(either, TENANTS.written(HowWritten("cp850"))) == [("7", "Dál", "17/03/1711")]
    elsewhere = b"Number,Surname,Born,Note\n7,Darby,17/03/1711,D\xa0l\n"
    assert read(elsewhere) == [("7", "Darby", "17/03/1711")]


CELL = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=12)


@given(st.lists(st.tuples(CELL, CELL, CELL).filter(lambda row: "".join(row).strip())))
def test_whatever_is_written_comes_back(rows: list[tuple[str, str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("number", "surname", "born"), *rows])
    found = read(b"\xef\xbb\xbf" + text.getvalue().encode())
    assert found == [tuple(cell.strip() for cell in row) for row in rows]


# -- files and extracts --------------------------------------------------------------------------------------------


NAMES = r"tenants_(?P<extract>\d{4})\.csv"


def adapter(folder: Path, *, layout: Layout = TENANTS, files: str = NAMES, **given: Any) -> FilesAdapter:
    settings = FilesSettings.model_validate({"folders": (folder,), "settle": 0, **given})
    return FilesAdapter("estates", settings, [FileStream("tenants", tenant, layout, files)])


async def look(estates: FilesAdapter) -> list[Extract]:
    (stream,) = estates.streams()
    assert isinstance(stream.reading, Files)
    return [extract async for extract in stream.reading.extracts()]


async def records(estates: FilesAdapter) -> list[Record]:
    (extract,) = await look(estates)
    return await whole(extract)


async def test_a_files_name_tells_its_extract_and_a_correction_replaces_it(tmp_path: Path) -> None:
    for n, name in enumerate(["tenants_2024.csv", "TENANTS_2025.CSV", "Tenants_2024_corrected.csv", "rents_2024.csv"]):
        (tmp_path / name).write_bytes(TWO)
        os.utime(tmp_path / name, (1_700_000_000 + n, 1_700_000_000 + n))
    assert [extract.name for extract in await look(adapter(tmp_path))] == ["2025", "2024"]
    in_all, *looked = await adapter(tmp_path).check()
    assert in_all.what.endswith(": 2 extracts, 1 files that belong to no stream")
    assert [each.what for each in looked] == [f"{name}: stream tenants, 2 rows" for name in (
        "TENANTS_2025.CSV", "Tenants_2024_corrected.csv")]  # fmt: skip
    named = adapter(tmp_path, files=r"(?P<extract>.*)\.csv", glob=["rents*"])
    assert [extract.name for extract in await look(named)] == ["rents_2024"]


async def test_the_settings_say_how_the_files_of_a_stream_are_called(tmp_path: Path) -> None:
    (tmp_path / "Mieter 2024.csv").write_bytes(TWO)
    settings = FilesSettings(folders=(tmp_path,), settle=timedelta(0), files={"tenants": r"Mieter (?P<extract>\d+)\.csv"})
    estates = FilesAdapter("estates", settings, [FileStream("tenants", tenant, TENANTS, "tenants.csv")])
    assert [extract.name for extract in await look(estates)] == ["2024"]
    unknown = settings.model_copy(update={"files": {"tenant": "x"}})
    with pytest.raises(MisconfiguredError, match="`files` names no stream: tenant"):
        FilesAdapter("estates", unknown, [FileStream("tenants", tenant, TENANTS, "tenants.csv")])


async def test_a_key_is_the_declared_one_with_days_as_in_iso(tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(HEAD + b" 07 ,Darby,17/03/1711\n")
    (record,) = await records(adapter(tmp_path))
    assert (record.key, record.row) == ("estates:person:7:1711-03-17", ("07", "Darby", "17/03/1711"))
    (stream,) = adapter(tmp_path).streams()
    assert stream.map(record.row).key == record.key


async def test_rows_with_one_key_count_once_if_they_are_alike_and_not_at_all_if_not(tmp_path: Path) -> None:
    path = tmp_path / "tenants_2024.csv"
    path.write_bytes(TWO + b"7, Darby ,17/03/1711\n9,Maw,02/02/1750\n9,Craven,02/02/1750\n")
    bench = Bench(adapter(tmp_path))
    assert [event.key for event in await bench.read()] == ["estates:person:7:1711-03-17", "estates:person:8:1750-02-01"]
    assert sorted((problem.field, problem.rule) for problem in bench.problems().values()) == [
        ("key", "occurs more than once"), ("number, born", TWICE),
    ]  # fmt: skip
    account = bench.state.of("tenants").accounts["2024"]
    assert (account.records, account.quarantined) == (2, 2)
    assert account.besides == {"copies of other rows": 1, "rows that contradict another one of their key": 2}


async def test_a_record_stays_as_it_was_while_two_rows_contradict_each_other(tmp_path: Path) -> None:
    path = tmp_path / "tenants_2024.csv"
    path.write_bytes(TWO)
    bench = Bench(adapter(tmp_path))
    await bench.read()
    path.write_bytes(TWO + b"8,Reynolds,01/02/1750\n")
    assert await bench.read() == []
    assert len(bench.problems()) == 2
    path.write_bytes(TWO)
    assert await bench.read() == []
    assert not bench.problems()


async def test_a_row_whose_key_cannot_be_read_is_quarantined_under_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(TWO + b"IX,Maw,02/02/1750\n9,Maw,30/02/1750\n")
    bench = Bench(adapter(tmp_path))
    assert len(await bench.read()) == 2
    found = {key.rpartition("-")[2]: (problem.field, problem.rule) for key, problem in bench.problems().items()}
    assert found == {"3": ("number", "is not a whole number"), "4": ("born", "is not of the form %d/%m/%Y")}


async def test_a_refused_file_publishes_nothing_and_another_one_goes_on(tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(TWO.rstrip())
    (tmp_path / "tenants_2025.csv").write_bytes(HEAD + b"9,Maw,02/02/1750\n")
    bench = Bench(adapter(tmp_path))
    assert [event.key for event in await bench.read()] == ["estates:person:9:1750-02-02"]
    (problem,) = bench.problems().values()
    assert problem.rule.startswith("ends in the middle of a line")
    (doubtful,) = [extract for extract in await look(adapter(tmp_path)) if extract.name == "2024"]
    assert doubtful.despite is not None
    accepted = [record async for portion in doubtful.despite(frozenset({"end"})) for record in portion]
    assert len(accepted) == 2


def twice(row: FiledTenant) -> Iterator[Row]:
    if row.surname != "Rose":
        yield from ((f"{row.number}{n}", row.surname, row.born) for n in (1, 2))


async def test_a_line_with_several_records_becomes_a_row_of_each(tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(TWO + b"9\n")
    estates = adapter(tmp_path, layout=Split(TENANTS, FiledTenant, twice))
    good = [record.key for record in await records(estates) if not isinstance(record.row, UnreadRow)]
    assert good == ["estates:person:71:1711-03-17", "estates:person:72:1711-03-17"]
    _, finding = await estates.check()
    assert finding.what.endswith("3 rows, rows without a record of this kind: 1")


@dataclass(frozen=True, slots=True)
class FailingLayout:
    """A layout with a mistake in it."""

    def rows(self, file: BinaryIO) -> Iterator[Row]:
        yield ("7", "Darby", "17/03/1711")
        raise KeyError(file.read().decode())


@pytest.mark.parametrize("size", [100, 300_000], ids=["in-a-thread", "in-a-process"])
async def test_a_mistake_in_a_layout_costs_the_file_and_is_told_without_a_value(size: int, tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(b"x" * size)
    said = r"estates extract 2024: file: cannot be read: KeyError at test_files_kit\.py"
    with pytest.raises(BadRecordError, match=said) as told:
        await records(adapter(tmp_path, layout=FailingLayout()))
    assert "xxx" not in str(told.value)


# -- large files ---------------------------------------------------------------------------------------------------


def many(count: int) -> bytes:
    return HEAD + b"".join(b"%d,Darby,17/03/1711\n" % n for n in range(count))


async def test_a_large_file_is_read_in_a_process_of_its_own_and_gives_the_same_rows(tmp_path: Path) -> None:
    path = tmp_path / "tenants_2024.csv"
    path.write_bytes(many(20_000) + many(1).removeprefix(HEAD) + b"5,Rose,17/03/1711\n6\n")
    assert path.stat().st_size > 256_000
    found = await records(adapter(tmp_path))
    good = [(str(n), "Darby", "17/03/1711") for n in range(20_000)]
    unread = {record.position[0]: (record.row.field, record.row.rule) for record in found if isinstance(record.row, UnreadRow)}
    assert [record.row for record in found if not isinstance(record.row, UnreadRow)] == good[:5] + good[6:]
    assert unread == {
        6: ("number, born", TWICE), 20_002: ("number, born", TWICE),
        20_003: ("the row", "has 1 cells, and the first line has 3"),
    }  # fmt: skip


async def test_a_large_file_that_changes_before_it_is_read_is_left_for_the_next_look(tmp_path: Path) -> None:
    path = tmp_path / "tenants_2024.csv"
    path.write_bytes(many(20_000))
    (extract,) = await look(adapter(tmp_path))
    path.write_bytes(many(19_000))
    with pytest.raises(UnavailableError, match="was changed while it was read"):
        await whole(extract)


async def test_a_large_file_holds_up_nobody(held: list[HoldUp], tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(many(20_000))
    (stream,) = adapter(tmp_path).streams()
    assert isinstance(stream, Stream)
    (extract,) = await look(adapter(tmp_path))
    assert sum([len(portion) async for portion in extract.portions()]) == 20_000
    assert held == []


async def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "tenants_2024.csv").write_bytes(many(60_000))
    with pytest.raises(BadRecordError, match="is larger than 1 MB"):
        await records(adapter(tmp_path, max_megabytes=1))
