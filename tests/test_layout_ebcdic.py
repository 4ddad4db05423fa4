"""Copybooks and EBCDIC as a layout of the files kit: places, pictures, signs, tables; and the real files of Cobrix's tests."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest

from adapters.kit.copybook import copybook
from adapters.kit.layout_ebcdic import (
    NONE,
    OTHERS,
    RDW,
    CopybookReader,
    EbcdicLayout,
    RecordHeader,
    UnreadableValue,
    records,
)
from adapters.kit.layouts import Passed
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.kit.typed import typed
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError, MisconfiguredError

COPYBOOK = """
000100* A ledger's entry.                                               LEDGER
000200 01  LEDGER-ENTRY.
000300     05  ENTRY-NO          PIC 9(4).
000400     05  KIND              PIC X.
000500         88  IS-DEBIT      VALUE 'D' 'X.'.
000600     05  AMOUNTS.
000700         10  NET           PIC S9(5)V99  COMP-3.
000800         10  VAT           PIC S9(3)V99.
000900     05  PAYEE             PIC X(10).
001000     05  HOW-MANY          PIC S9(4) COMP.
001100     05  PART OCCURS 1 TO 3 TIMES DEPENDING ON HOW-MANY.
001200         10  COST-CENTRE   PIC X(3).
001300         10  SHARE         PIC 9(2).
"""


@row_of("part")
class LedgerShare(NamedTuple):
    centre: Annotated[str, Spelt("COST-CENTRE")]
    share: Annotated[int, Spelt("share")]


@row_of("LEDGER", key="entry_no")
class MainframeEntry(NamedTuple):
    entry_no: int
    net: Annotated[Decimal | None, Spelt("AMOUNTS.NET")]
    vat: Soft[Annotated[Decimal | None, Spelt("AMOUNTS.VAT")]]
    payee: str | None
    part: tuple[LedgerShare, ...]


VAT = b"\xf0\xf0\xf1\xf2\xd3"


def entry(number: str = "0007", net: str = "0012345c", vat: bytes = VAT, parts: int = 2, room: int = 3) -> bytes:
    """A record whose net is 123.45 and whose VAT is -1.23, if nothing else is said."""
    rows = b"".join(f"C{n}A5{n}".encode("cp037") for n in range(room))
    payee = "Ash & Co  ".encode("cp037")
    return number.encode("cp037") + "D".encode("cp037") + bytes.fromhex(net) + vat + payee + parts.to_bytes(2, "big") + rows


LAYOUT = EbcdicLayout(COPYBOOK, {"": MainframeEntry})


def read(layout: EbcdicLayout, data: bytes) -> list[Row | Passed]:
    return list(layout.rows(BytesIO(data)))


def test_a_record_is_read_as_its_copybook_says() -> None:
    [row] = read(LAYOUT, entry())
    assert row == (7, Decimal("123.45"), Decimal("-1.23"), "Ash & Co", (("C0A", 50), ("C1A", 51)))
    assert typed(MainframeEntry)(row).part[1] == LedgerShare("C1A", 51)
    assert read(pickle.loads(pickle.dumps(LAYOUT)), entry()) == [row]


def test_records_of_one_length_lie_behind_one_another_and_a_cut_one_refuses_the_file() -> None:
    assert [row[0] for row in read(LAYOUT, entry() + entry("0008")) if not isinstance(row, Passed)] == [7, 8]
    with pytest.raises(BadRecordError, match="ends within record 2: it was cut off"):
        read(LAYOUT, entry() + entry("0008")[:-1])


def test_records_with_a_descriptor_word_may_close_up_behind_their_tables() -> None:
    layout = EbcdicLayout(COPYBOOK, {"": MainframeEntry}, header=RDW, closed_up=True)
    data = b"".join((len(each) + 4).to_bytes(2, "big") + b"\0\0" + each for each in (entry(parts=1, room=1), entry(parts=3)))
    assert [len(row[4]) for row in read(layout, data) if not isinstance(row, Passed)] == [1, 3]
    with pytest.raises(BadRecordError, match="ends within record 2"):
        read(layout, data[:-3])


def test_bytes_that_are_no_number_cost_their_cell_where_it_is_soft_and_their_row_elsewhere() -> None:
    [soft] = read(LAYOUT, entry(vat=b"\xc1\xc2\xc3\xc4\xc5"))
    assert not isinstance(soft, UnreadRow)
    assert soft[2] == "hex c1c2c3c4c5"
    with pytest.raises(BadRecordError, match=r"AMOUNTS\.VAT: is not a number"):
        typed(MainframeEntry)(soft)
    [several] = read(LAYOUT, entry(parts=9))
    assert isinstance(several, UnreadRow)
    assert several.field == "PART"


def value(pic: str, raw: str) -> Any:
    """A field's value by its PIC and its bytes in hexadecimal."""
    data = bytes.fromhex(raw)
    found = CopybookReader(f"01 R.\n 05 F PIC {pic}.")(data)["F"]
    return "unreadable" if isinstance(found, UnreadableValue) else found


@pytest.mark.parametrize(
    ("pic", "raw", "said"),
    [
        ("X(3)", "c1400f", "A"),
        ("XX", "4a5b", "\u00a2$"),
        ("9(3)", "f1f2f3", 123),
        ("9(3)", "40f2f3", 23),
        ("9(3)", "404040", None),
        ("9(3)", "000000", None),
        ("9(3)", "f1f2c1", 121),
        ("9(3)", "f1c2f1", "unreadable"),
        ("9(3)", "c1c2c3", "unreadable"),
        ("S999", "f1f2d3", -123),
        ("S9(3) SIGN IS LEADING", "d1f2f3", -123),
        ("S9(3) SIGN LEADING SEPARATE CHARACTER", "60f1f2f3", -123),
        ("S9(3) SIGN TRAILING SEPARATE", "f1f2f34e", 123),
        ("9(2)V9(2)", "f1f2f3f4", Decimal("12.34")),
        ("9(2).9(2)", "f1f24bf3f4", Decimal("12.34")),
        ("ZZ9.99", "4040f14bf3f4", Decimal("1.34")),
        ("9(2)PP", "f1f2", 1200),
        ("S9(5) COMP-3", "12345d", -12345),
        ("S9(4)V9 PACKED-DECIMAL", "12345c", Decimal("1234.5")),
        ("9(4) COMP-3", "01234f", 1234),
        ("9(3) COMP-3", "1a3f", "unreadable"),
        ("9(3) COMP-3", "1234", "unreadable"),
        ("9(3) COMP-3", "4040", None),
        ("S9(4) USAGE IS BINARY", "fffe", -2),
        ("9(4) COMP", "270f", 9999),
        ("9(4) COMP", "2710", "unreadable"),
        ("9(4) COMP-5", "ffff", 65535),
        ("S9(9) COMP-4", "80000000", "unreadable"),
        ("S9(18) COMP", "ffffffffffffffff", -1),
    ],
)
def test_each_picture_has_its_size_and_its_values(pic: str, raw: str, said: Any) -> None:
    [top] = copybook(f"01 R.\n 05 F PIC {pic}.")
    assert (top.size, value(pic, raw)) == (len(raw) // 2, said)


def test_the_euro_sign_comes_from_the_code_page() -> None:
    text = "01 R.\n 05 F PIC X."
    assert (CopybookReader(text, "cp1140")(b"\x9f")["F"], CopybookReader(text, "cp037")(b"\x9f")["F"]) == ("\u20ac", "\u00a4")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "describes no record"),
        ("01 R.\n 05 F COMP-1.", "COMP-1 is not known here"),
        ("01 R.\n 05 F PIC X SYNCHRONIZED.", "SYNCHRONIZED is not known here"),
        ("01 R.\n 05 F PIC $$9.99.", "is not known here"),
        ("01 R.\n 05 F PIC ZZ9 COMP.", "is printed, and its usage is not"),
        ("01 R.\n 05 G.", "G has no PIC and no fields"),
        ("01 R.\n 05 F PIC X.\n 10 G PIC X.", "G lies in F, which has a PIC"),
        ("01 R.\n 05 F REDEFINES G PIC X.", "F redefines G, which is not beside it"),
        ("01 R.\n 05 F PIC X.\n 66 G RENAMES F.", "level 66 is not known here"),
        ("01 R.\n 05 F OCCURS", "ends with OCCURS"),
    ],
)
def test_a_copybook_that_is_not_understood_is_refused_by_its_word(text: str, said: str) -> None:
    with pytest.raises(MisconfiguredError) as caught:
        copybook(text)
    assert said in caught.value.what


def test_a_column_that_the_copybook_lacks_is_named() -> None:
    class Lacking(NamedTuple):
        other: int

    row_of("LEDGER")(Lacking)
    with pytest.raises(MisconfiguredError, match="the column OTHER: is none of the copybook"):
        read(EbcdicLayout(COPYBOOK, {"": Lacking}), entry())


def test_records_of_other_kinds_are_counted_and_unknown_ones_refuse_the_file() -> None:
    assert read(EbcdicLayout(COPYBOOK, {"D": None}, by="KIND"), entry()) == [OTHERS]
    with pytest.raises(BadRecordError, match="record 1 is none of the kinds C"):
        read(EbcdicLayout(COPYBOOK, {"C": MainframeEntry}, by="KIND"), entry())


# -- the real files --------------------------------------------------------------------------------------------------

FIVE_BYTES = RecordHeader(5, 3, "little", counts_itself=False, first=1)
FILES = {"test1": ("example.bin", None), "test11": ("COMP.DETAILS.MAY30.DATA.dat", FIVE_BYTES), "test19": ("data.dat", None)}


def as_cobrix_writes(value: Any) -> Any:
    """A value as Cobrix's expected file has it: nothing for what is not there, and no letter that its code page lacks."""
    if isinstance(value, dict):
        return {name: as_cobrix_writes(v) for name, v in value.items() if v is not None and not isinstance(v, UnreadableValue)}
    if isinstance(value, list):
        return [as_cobrix_writes(each) for each in value]
    return "".join(c if c.isascii() else " " for c in value).strip() if isinstance(value, str) else value


@pytest.mark.shared
@pytest.mark.parametrize("name", FILES)
def test_the_rows_of_a_real_file_are_as_expected(name: str, shared: Path) -> None:
    folder, (file, header) = shared / "data" / "mainframe" / name, FILES[name]
    read_record = CopybookReader((folder / "copybook.cob").read_text())
    with (folder / file).open("rb") as data:
        found = [as_cobrix_writes(read_record(each)) for each in records(data, header or read_record.size) if each is not None]
    expected = [json.loads(line, parse_float=Decimal) for line in (folder / f"{name}.txt").read_text().splitlines()]
    for row in expected:
        row.pop("File_Id", None)
        row.pop("Record_Id", None)
    if name == "test19":  # Cobrix reads the ten blanks of one amount as 0.00, and the blanks of another field as nothing
        assert expected[5].pop("WS_AMOUNT_FRACTION") == 0
    assert len(found) == len(expected) if header is None else len(found) > len(expected)
    assert found[: len(expected)] == expected


@pytest.mark.shared
def test_records_that_their_header_marks_as_none_are_counted(shared: Path) -> None:
    @row_of("COMPANY")
    class CobrixCompany(NamedTuple):
        company_id: str
        name: Annotated[str | None, Spelt("STATIC-DETAILS.COMPANY-NAME")]

    folder, (file, header) = shared / "data" / "mainframe" / "test11", FILES["test11"]
    layout = EbcdicLayout((folder / "copybook.cob").read_text(), {"C": CobrixCompany, "P": None}, "SEGMENT-ID", header)
    found = read(layout, (folder / file).read_bytes())
    assert found[:2] == [("9377942526", "Joan Q & Z"), ("8397743638", "ECSRONO")]
    assert found.count(NONE) + found.count(OTHERS) + sum(not isinstance(row, Passed) for row in found) == 1306
    assert found.count(NONE) > 0
