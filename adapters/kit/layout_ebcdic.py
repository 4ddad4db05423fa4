"""
Records of a mainframe as a layout: a COBOL copybook says where each field lies, and EBCDIC how its characters are written.

    EbcdicLayout(COPYBOOK, {"": LedgerEntry})                                   # records of one length, one behind the other
    EbcdicLayout(COPYBOOK, {"C": Company, "P": None}, by="SEGMENT-ID", header=RDW)

A column is the path that `Spelt` gives, `COMPANY.SHORT-NAME`, or the field's own name in capitals; dashes and `_` are one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, partial
from typing import Any, BinaryIO, Literal

from adapters.kit.copybook import CopybookField, CopybookPicture, copybook
from adapters.kit.layout_kinds import FoundRow, Whole, each_row, refused_file
from adapters.kit.layouts import Passed
from adapters.kit.rows import declared_of, fields_of
from adapters.port import Row, UnreadRow
from canonical.errors import MisconfiguredError

OTHERS = Passed("records of other kinds")
NONE = Passed("records that their header marks as none")


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """
    The bytes before each record that say how long it is: two of them, `at` a place counted from 0. If its first byte says whether
    there is a record, `first` is what it is then; records with another one are left out and counted.
    """

    size: int
    at: int
    order: Literal["big", "little"]
    counts_itself: bool
    first: int | None = None


RDW = RecordHeader(4, 0, "big", counts_itself=True)
"""The record descriptor word of z/OS, as FTP in binary mode with `SITE RDW` leaves it. Block descriptor words are not read."""


class UnreadableValue(str):
    """Stands for a number whose bytes are none: `hex f6f9`. Where a number is declared, it costs its cell or its row."""

    __slots__ = ()


@dataclass(frozen=True)
class EbcdicLayout:
    """
    A file of records as a copybook (its text) describes them. `kinds` are row classes by the value of the field `by`; where there
    is one kind only, it stands under an empty text. Records of a kind that is None are passed over and counted.

    Without a `header` all records have the copybook's length. `closed_up` is for records in which a table that depends on a
    number takes no more room than it has rows. `encoding` is Python's name of the code page: cp037, cp1140 with the euro sign,
    cp500. A text loses the blanks round it, its control characters are blanks, and a soft hyphen is one. Numbers are numbers,
    blank ones are None. Rows that nest are of an OCCURS, whose path their class declares as its table. `columns` are the paths of
    fields that this copybook calls otherwise than the row class does; one with an empty path is not in it.
    """

    text: str
    kinds: Mapping[str, type | None]
    by: str = ""
    header: RecordHeader | None = None
    closed_up: bool = False
    encoding: str = "cp037"
    whole: Whole = field(default=each_row, repr=False)
    columns: Mapping[str, str] = field(default_factory=dict)

    def rows(self, file: BinaryIO) -> Iterator[Row | Passed]:
        """
        Give the rows to publish.

        :raises BadRecordError: the file ends within a record, a record has no length, or is of no known kind.
        :raises MisconfiguredError: the copybook or the code page is none.
        """
        passed: list[Passed] = []
        yield from self.whole(self._found(file, passed), frozenset())
        yield from passed

    def _found(self, file: BinaryIO, passed: list[Passed]) -> Iterator[FoundRow]:
        read = CopybookReader(self.text, self.encoding, closed_up=self.closed_up)
        for number, data in enumerate(records(file, self.header or read.size), start=1):
            if data is None:
                passed.append(NONE)
                continue
            values = read(data)
            mark = str(_at(values, self.by)) if self.by else ""
            if mark not in self.kinds:
                raise refused_file(f"record {number} is none of the kinds {', '.join(self.kinds)}", "bytes")
            kind = self.kinds[mark]
            if kind is None:
                passed.append(OTHERS)
            else:
                yield FoundRow(kind, _row(kind, values, self.columns), number)


def records(file: BinaryIO, header: RecordHeader | int) -> Iterator[bytes | None]:
    """
    The bytes of each record, of one length or with a header each; None for one that its header marks as none.

    :raises BadRecordError: the file ends within a record.
    """
    number, size = 0, header if isinstance(header, int) else header.size
    while piece := file.read(size):
        number += 1
        if len(piece) < size:
            raise refused_file(f"ends within record {number}: it was cut off, or its records have another length", "bytes")
        yield piece if isinstance(header, int) else _behind(piece, header, file, number)


def _behind(piece: bytes, header: RecordHeader, file: BinaryIO, number: int) -> bytes | None:
    said = int.from_bytes(piece[header.at : header.at + 2], header.order)
    length = said - (header.size if header.counts_itself else 0)
    if length <= 0 or len(data := file.read(length)) < length:
        raise refused_file(f"ends within record {number}, or its length is none", "bytes")
    return data if header.first in (None, piece[0]) else None


class CopybookReader:
    """Reads a record's bytes as the copybook's fields: nested dicts and lists of texts, numbers and None."""

    def __init__(self, text: str, encoding: str = "cp037", *, closed_up: bool = False) -> None:
        self._top, self._closed_up = _only_record(text), closed_up
        self._decode: Callable[[bytes], str] = partial(str, encoding=encoding, errors="replace")
        self.size = self._top.size

    def __call__(self, data: bytes) -> dict[str, Any]:
        values, _ = self._group(self._top, data, 0, {})
        return values

    def _group(self, group: CopybookField, data: bytes, start: int, seen: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The fields of a group, and where it ends. `seen` has the numbers so far, on which tables may depend."""
        values: dict[str, Any] = {}
        starts: dict[str, int] = {}
        end = start
        for its in group.fields:
            begin = starts[its.name] = starts.get(its.redefines, end) if its.redefines else end
            value, behind = self._several(its, data, begin, seen)
            end = max(end, behind)
            if its.name != "FILLER":
                values[its.name] = seen[its.name] = value
        return values, end

    def _several(self, its: CopybookField, data: bytes, start: int, seen: dict[str, Any]) -> tuple[Any, int]:
        if not its.table:
            return self._one(its, data, start, seen)
        times, end, found = its.most, start, []
        if its.depending:
            said = seen.get(its.depending)
            if not isinstance(said, int) or not 0 <= said <= its.most:
                return UnreadableValue("a table of no known length"), start + its.size
            times = said
        for _ in range(times):
            value, end = self._one(its, data, end, seen)
            found.append(value)
        return found, end if self._closed_up else start + its.size

    def _one(self, its: CopybookField, data: bytes, start: int, seen: dict[str, Any]) -> tuple[Any, int]:
        if its.picture is None:
            return self._group(its, data, start, seen)
        end = start + its.picture.size
        return self._value(its.picture, data[start:end]), end

    def _value(self, picture: CopybookPicture, raw: bytes) -> Any:
        if not picture.digits:
            text = self._decode(raw).replace("\u00ad", "-")
            return "".join(c if c.isprintable() else " " for c in text).strip()
        if len(raw) < picture.size:
            return None if not raw else UnreadableValue(f"hex {raw.hex()}")
        try:
            return _scaled(_number(picture, raw, self._decode), picture)
        except (ValueError, ArithmeticError):
            return UnreadableValue(f"hex {raw.hex()}")


@cache
def _only_record(text: str) -> CopybookField:
    tops = copybook(text)
    if len(tops) > 1:
        fix = "give each record's description as a layout of its own, or let one redefine the other below one level 01"
        raise MisconfiguredError("the copybook", f"describes {len(tops)} records", fix=fix)
    return tops[0]


# -- numbers ---------------------------------------------------------------------------------------------------------

_PLUS, _MINUS = "acef", "bd"


def _number(picture: CopybookPicture, raw: bytes, decode: Callable[[bytes], str]) -> int | Decimal | None:
    """
    The number that bytes say, without the point that they do not write; None if it was never filled in.

    :raises ValueError: they say none.
    """
    if picture.usage in ("binary", "native"):
        number = int.from_bytes(raw, "big", signed=picture.signed)
        if picture.usage == "binary" and abs(number) >= 10**picture.digits:
            raise ValueError
        return number
    if not raw.strip(b"\x40") or not raw.strip(b"\0"):
        return None
    if picture.edited:
        return Decimal(decode(raw).strip())
    if picture.usage == "packed":
        digits, sign = raw.hex()[:-1], raw.hex()[-1]
        return _signed(digits, sign)
    return _zoned(picture, raw, decode)


def _zoned(picture: CopybookPicture, raw: bytes, decode: Callable[[bytes], str]) -> int:
    """A number in characters: its sign stands in a byte of its own, or in the upper half of its first or last digit."""
    if picture.separate:
        text = decode(raw)
        sign, digits = (text[0], text[1:]) if picture.separate == "leading" else (text[-1], text[:-1])
        return _signed(digits, {"+": "c", "-": "d"}.get(sign, sign))
    raw = raw.strip(b"\x40")
    at = 0 if picture.leading else len(raw) - 1
    zones, digits = raw.hex()[::2], raw.hex()[1::2]
    if set(zones[:at] + zones[at + 1 :]) - {"f"}:
        raise ValueError
    return _signed(digits, zones[at])


def _signed(digits: str, sign: str) -> int:
    if not digits.isdecimal() or sign not in _PLUS + _MINUS:
        raise ValueError
    return -int(digits) if sign in _MINUS else int(digits)


def _scaled(number: int | Decimal | None, picture: CopybookPicture) -> int | Decimal | None:
    if not isinstance(number, int):
        return number
    if picture.scale <= 0:
        return number * int(10**-picture.scale)
    return Decimal(number).scaleb(-picture.scale)


# -- rows ------------------------------------------------------------------------------------------------------------


_AS_DECLARED: Mapping[str, str] = {}


def _row(kind: type, values: Mapping[str, Any], columns: Mapping[str, str] = _AS_DECLARED) -> Row:
    row: list[Any] = []
    fault = ""
    for its in fields_of(kind):
        path = declared_of(its.part).table if its.part else columns.get(its.name, its.column)
        value = _at(values, path) if path else None
        if its.part and isinstance(value, Sequence) and not isinstance(value, str):
            value = tuple(_row(its.part, each if isinstance(each, Mapping) else {_plain(its.column): each}) for each in value)
            fault = fault or next((each.field for each in value if isinstance(each, UnreadRow)), "")
        elif isinstance(value, UnreadableValue):
            value, fault = (str(value), fault) if its.kind in (int, Decimal, float) else (None, fault or its.column)
        row.append(value)
    return UnreadRow.of(row, fault, "holds bytes that are no value of its PIC") if fault else tuple(row)


def _at(values: Mapping[str, Any], path: str) -> Any:
    """:raises MisconfiguredError: the copybook has no such field."""
    found: Any = values
    for step in map(_plain, path.split(".")):
        if not isinstance(found, Mapping) or step not in found:
            fix = "write the names of the groups and of the field as the copybook does, with points between"
            raise MisconfiguredError(f"the column {path}", "is none of the copybook", fix=fix)
        found = found[step]
    return found


def _plain(name: str) -> str:
    return name.strip().replace("-", "_").upper()
