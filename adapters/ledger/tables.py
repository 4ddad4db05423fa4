"""
From bytes to rows of cells: which encoding, which delimiter, which sheet, decided by evidence or refused.

Nothing here knows what a column means. A file that can be read in several ways gives every way that is not excluded;
the caller keeps the one that fits a layout, and refuses the file when two readings would give different records.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.ledger.cells import Cell
from adapters.ledger.workbook import sheets
from canonical.errors import BadRecordError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MOST_ROWS, MOST_CELLS = 1_048_576, 20_000_000  # a spreadsheet's own rows; lists of more than that fill the memory


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as a spreadsheet would number them from 1, blank ones included, and how they were read."""

    rows: Sequence[Sequence[Cell]]
    how: str


def tables(where: str, data: bytes, *, encoding: str | None, largest: int) -> list[list[Table]]:
    """
    The ways to read a file: one list for each encoding that is not excluded, in it a table a delimiter or sheet.

    :raises BadRecordError: no encoding fits, the quotes do not match, or the workbook cannot be opened.
    """
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return [[Table(rows, f"workbook, sheet {at}") for at, rows in enumerate(sheets(where, data, largest), start=1)]]
    return [_delimited(where, text, name) for name, text in texts(where, data, encoding)]


# -- encodings -----------------------------------------------------------------------------------------------------

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Where a pound sign stands in a ledger: before a figure, or alone in a heading's brackets.
_POUND = rb"(?:(?<=[\s,;\t|\"'(-])|^)%s(?=\s?[-(]?\s?[0-9.]|\s*[)\"]|\s*$)"
_POUNDS = {"cp1252": re.compile(_POUND % rb"\xa3", re.M), "cp850": re.compile(_POUND % rb"\x9c", re.M)}
_ALSO = "£€§°–—’´`¨©®™¼½¾²³\u00a0"  # what British office programs write besides accented letters
_BETWEEN_WORDS = "‘“”…•·×"


def texts(where: str, data: bytes, encoding: str | None = None) -> list[tuple[str, str]]:
    """
    The file's text by each encoding that the evidence does not exclude: a byte order mark, valid UTF-8, the place of
    the pound sign (0xA3 in Windows-1252, 0x9C in DOS 437 and 850), and whether the letters make sense.

    :raises BadRecordError: no encoding is left.
    """
    marked = next((name for bom, name in _BOMS.items() if data.startswith(bom)), None)
    if sure := marked or encoding:
        if (text := _decoded(data, sure)) is None:
            raise _refused(
                where, "encoding", f"is not {sure}, although its first bytes or the settings say so", "bytes"
            )
        return [(sure, text)]
    if (text := _decoded(data, "utf-8")) is not None:
        return [("utf-8", text)]
    pounds = [name for name, pound in _POUNDS.items() if pound.search(data)]
    if len(pounds) > 1:
        raise _refused(
            where, "encoding", "has pound signs of both Windows and DOS: two files were pasted together", "bytes"
        )
    names = {"cp1252": ["cp1252"], "cp850": ["cp850", "cp437"]}.get("".join(pounds), ["cp1252", "cp850", "cp437"])
    left = [(name, text) for name in names if (text := _decoded(data, name)) is not None and _sensible(text)]
    if not left:
        raise _refused(where, "encoding", "is none of UTF-8, UTF-16, Windows-1252, DOS 850 and DOS 437", "bytes")
    return list({text: (name, text) for name, text in reversed(left)}.values())[::-1]


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _sensible(text: str) -> bool:
    """Whether every character beyond ASCII is one that a British office writes, and stands where one stands."""
    return all(_at_home(text, found.start()) for found in re.finditer(r"[^\x00-\x7f]", text))


def _at_home(text: str, at: int) -> bool:
    sign, before, behind = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if sign in _BETWEEN_WORDS:
        return not (before.isalpha() and behind.isalpha())
    if sign in _ALSO:
        return True
    # A capital in the middle of a word, as in "CafÚ", is a small letter of the other encoding.
    return unicodedata.name(sign, "").startswith("LATIN") and not (sign.isupper() and before.islower())


# -- delimited text ------------------------------------------------------------------------------------------------


def _delimited(where: str, text: str, encoding: str) -> list[Table]:
    read = {d: _rows(text, d) for d in DELIMITERS if d in text}
    whole = {d: rows for d, rows in read.items() if not isinstance(rows, str)}
    if not whole:
        why = next(
            (rows for rows in read.values() if isinstance(rows, str)), "has no delimiter of " + _named(DELIMITERS)
        )
        raise _refused(where, "file", why, "text")
    return [Table(rows, f"{encoding}, {DELIMITERS[d]}") for d, rows in whole.items()]


def _named(delimiters: dict[str, str]) -> str:
    return ", ".join(delimiters.values())


def _rows(text: str, delimiter: str) -> list[list[str]] | str:
    rows: list[list[str]] = []
    cells = 0
    try:
        # newline="": the module itself knows CR, LF and CRLF, and keeps those inside quotes.
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            rows.append(row)
            cells += len(row)
            if len(rows) > MOST_ROWS or cells > MOST_CELLS:
                return f"has more than {MOST_ROWS} rows or {MOST_CELLS} cells"
    except csv.Error as error:
        return f"is not text that a CSV reader understands ({error})"
    return rows


def _refused(where: str, field: str, rule: str, shape: str) -> BadRecordError:
    return BadRecordError(
        where, field=field, rule=rule, shape=shape,
        fix="export it again as UTF-8 CSV or xlsx, or name its encoding in the settings",
    )  # fmt: skip


def numbered(table: Table) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Each row with its number, from 1."""
    return enumerate(table.rows, start=1)
