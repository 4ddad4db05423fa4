"""Fixed-width text as a layout of the files kit: columns by place, records of several kinds, totals."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from io import BytesIO
from typing import Annotated, NamedTuple

import pytest

from adapters.kit.batch import Batch, CountOf, SumOf
from adapters.kit.layout_fixed import BLANK_LINES, At, FixedLayout, Label
from adapters.kit.layout_kinds import FoundRow, must_agree
from adapters.kit.layouts import HowWritten, Passed
from adapters.kit.rows import Filled, row_of
from adapters.kit.typed import typed
from adapters.port import Row, UnreadRow
from canonical.errors import BadRecordError, DoubtfulError, MisconfiguredError


@row_of("charge", key="number")
class FixedCharge(NamedTuple):
    number: Annotated[int, At(2, 5)]
    payee: Annotated[str | None, At(6, 15)]
    pence: Annotated[int, At(16, 20)]


@row_of("trailer")
class FixedTrailer(NamedTuple):
    count: Annotated[int, At(2, 5)]
    pence: Annotated[int, At(6, 12)]


def totals(records: Iterator[FoundRow], _: frozenset[str]) -> Iterator[Row]:
    count = pence = 0
    for record in records:
        if record.kind is FixedTrailer:
            said = typed(FixedTrailer)(record.row)
            must_agree("the number of charges is", said.count, count)
            must_agree("the sum in pence is", said.pence, pence)
            return
        charge = typed(FixedCharge)(record.row)
        count, pence = count + 1, pence + charge.pence
        yield record.row
    must_agree("trailers", 1, 0)


PLAIN = FixedLayout({"": FixedCharge})
TOTALLED = FixedLayout({"D": FixedCharge, "T": FixedTrailer}, whole=totals)
FILE = b"D0007Ash & Co  00150\r\nD0008          01000\r\nT00020001150\r\n"


def read(layout: FixedLayout, data: bytes) -> list[Row | Passed]:
    return list(layout.rows(BytesIO(data)))


def refusal(layout: FixedLayout, data: bytes) -> str:
    with pytest.raises(BadRecordError) as caught:
        read(layout, data)
    assert caught.value.field == "file"
    return caught.value.rule


def test_columns_are_cut_out_by_their_places() -> None:
    rows = read(TOTALLED, FILE)
    assert rows == [("0007", "Ash & Co", "00150"), ("0008", "", "01000")]
    assert typed(FixedCharge)(rows[1]) == FixedCharge(8, None, 1000)
    assert read(pickle.loads(pickle.dumps(TOTALLED)), FILE) == rows


@row_of("sale", key="number")
class FixedSale(NamedTuple):
    till: Annotated[str, At(2, 4, of="H")]
    day: Annotated[str, At(6, 7), At(5, 6, of="H")]
    number: Filled[int]
    pence: Annotated[int, At(2, 5)]


@row_of("sums")
class FixedSums(NamedTuple):
    sales: Annotated[int, At(2, 5), CountOf("the number of sales is")]
    pence: Annotated[int, At(6, 12), SumOf("the sum in pence is")]


SALES = FixedLayout({"H": Label, "S": FixedSale, "T": FixedSums}, whole=Batch(FixedSale, "pence", "number", trailer=FixedSums))


def test_a_batch_has_columns_of_its_labels_and_is_held_to_the_totals_that_are_declared() -> None:
    file = b"HT0105\r\nS0150\r\nHT0206\r\nS100007\r\nT00020001150\r\n"
    assert read(SALES, file) == [("T01", "05", 1, "0150"), ("T02", "07", 2, "1000")]
    assert read(pickle.loads(pickle.dumps(SALES)), file) == read(SALES, file)
    assert refusal(SALES, file.replace(b"T0002", b"T0003")) == "says the number of sales is 3, and holds 2"
    assert refusal(SALES, file.replace(b"0001150", b"0001151")) == "says the sum in pence is 1151, and holds 1150"
    assert refusal(SALES, file.replace(b"S0150", b"S01A0")) == "line 2 has no amount"
    assert refusal(SALES, file[8:]) == "line 1 does not stand between H and sums"
    assert refusal(SALES, file[: file.index(b"T0002")]) == "has no sums: its end is missing"
    assert refusal(SALES, file + file) == "goes on in line 6, behind sums"


def test_a_file_whose_totals_do_not_agree_is_refused() -> None:
    assert refusal(TOTALLED, FILE.replace(b"01000", b"02000")) == "says the sum in pence is 1150, and holds 2150"
    assert refusal(TOTALLED, FILE.replace(b"T0002", b"T0003")) == "says the number of charges is 3, and holds 2"
    assert refusal(TOTALLED, FILE[: FILE.index(b"T0002")]) == "says trailers 1, and holds 0"


def test_a_record_of_no_known_kind_refuses_the_file_and_is_not_quoted() -> None:
    assert refusal(TOTALLED, b"X secret\n" + FILE) == "line 1 begins with none of D, T"
    assert refusal(TOTALLED, b"") == "is empty"


def test_a_record_that_goes_on_costs_itself_and_one_that_ends_early_is_filled_up() -> None:
    first, second, third = read(PLAIN, b"D0007Ash       00150  \nD0008Birch     00150X\nD0009\n")
    assert first == ("0007", "Ash", "00150")
    assert isinstance(second, UnreadRow)
    assert (second.rule, second[0]) == ("line 2 has 21 characters, and 20 are known", "0008")
    assert third == ("0009", "", "")


def test_blank_lines_are_told_and_a_last_line_without_an_end_is_a_doubt() -> None:
    assert read(PLAIN, b"D0007Ash       00150\n\n \n\x1a") == [("0007", "Ash", "00150"), *[BLANK_LINES] * 3]
    torn = b"D0007Ash       00150\nD0008Bir"
    with pytest.raises(DoubtfulError, match="ends in the middle of a line"):
        read(PLAIN, torn)
    assert len(read(PLAIN.written(HowWritten(accepted=frozenset({"end"}))), torn)) == 2
    assert read(TOTALLED, FILE.rstrip()) == read(TOTALLED, FILE)


def test_an_encoding_is_taken_from_the_settings_and_refused_where_it_is_in_doubt() -> None:
    line = "D0007Café      00150\n".encode("cp1252")
    assert read(PLAIN.written(HowWritten("cp1252")), line) == [("0007", "Café", "00150")]


def test_a_column_without_a_place_is_a_mistake_of_the_row_class() -> None:
    class Placeless(NamedTuple):
        number: int

    with pytest.raises(MisconfiguredError, match=r"Placeless\.number: has no place"):
        read(FixedLayout({"": Placeless}), FILE)
