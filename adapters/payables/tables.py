"""
From bytes to rows of cells: the encoding, the delimiter and the sheet are decided by evidence, or the file is refused.

Nothing here knows the meaning of a column. If a file can be read in several ways, every way that is not excluded is
given; the caller keeps the one that fits a layout, and refuses the file if two readings would give different records.

A table is never in memory as a whole: each time that somebody goes through its rows, they are read from the file's bytes
again. That costs little and is bounded; a list of all cells takes thirty times the file.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b

from adapters.payables.cells import EPOCH, Cell
from adapters.payables.sheets import APART
from adapters.payables.workbook import Sheet, sheets
from canonical.errors import BadRecordError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
MOST_ROWS, MOST_CELLS = 1_048_576, 20_000_000  # a spreadsheet's own limit of rows; a file with more is no ledger


@dataclass(frozen=True, slots=True)
class Table:
    """
    Rows numbered from 1 like in a spreadsheet, blank ones included, how many there are, and how they were read.

    Several readers may go through `rows`, any number of times, but one at a time. `delimiter` is that of text; `torn` says
    that no line end closes the last row of a text. `name` is that of a sheet, `before` the number before its first row, and
    `epoch` the day that its serial numbers count from.
    """

    rows: Iterable[Sequence[Cell]]
    count: int
    how: str
    delimiter: str = ""
    torn: bool = False
    name: str = ""
    before: int = 0
    epoch: date = EPOCH


def tables(where: str, data: bytes, *, encoding: str | None, largest: int) -> list[list[Table]]:
    """
    The ways to read a file: one list for each encoding that is not excluded, in it a table a delimiter or sheet.

    :raises BadRecordError: no encoding fits, the quotes do not match, or the workbook cannot be opened.
    """
    if is_workbook(data):
        return [[_sheet(at, sheet) for at, sheet in enumerate(sheets(where, data, largest))]]
    _refuse_what_is_no_table(where, data)
    return [_delimited(where, Text(data, name)) for name in encodings(where, data, encoding)]


def _sheet(at: int, sheet: Sheet) -> Table:
    how = f"workbook, sheet {at + 1}"
    return Table(sheet, sheet.count, how, name=sheet.name, before=at * APART, epoch=sheet.epoch)


_NO_TABLES = {
    "a web page (HTML)": re.compile(rb"\s*(?:<!--.*?-->\s*)?<(?:!doctype html|html|head|body|table|meta)\b", re.I | re.S),
    "an XML document": re.compile(rb"\s*<\?xml\b"),
    "a PDF document": re.compile(rb"%PDF-"),
    "a text document (RTF)": re.compile(rb"\{\\rtf"),
}


def _refuse_what_is_no_table(where: str, data: bytes) -> None:
    for what, begin in _NO_TABLES.items():
        if begin.match(data.removeprefix(b"\xef\xbb\xbf")[:1000]):
            raise _refused(where, "file", f"is {what}, whatever its name says", "bytes")


def is_workbook(data: bytes) -> bool:
    """Tell whether a file begins as an Excel workbook does, of the newer or the older kind."""
    return data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0"))


@dataclass(frozen=True, slots=True)
class Text:
    """A file's bytes as text, decoded anew each time that somebody goes through its lines."""

    data: bytes
    encoding: str

    def lines(self) -> Iterator[str]:
        """
        The lines with their ends, as the csv module needs them: it knows CR, LF and CRLF itself, and keeps those inside quotes.

        :raises UnicodeError: the bytes are no text of this encoding.
        """
        # Without a byte order mark the streaming codec raises an error; Windows writes little-endian.
        bare = self.encoding == "utf-16" and not self.data.startswith((b"\xff\xfe", b"\xfe\xff"))
        encoding = "utf-16-le" if bare else self.encoding
        with io.TextIOWrapper(io.BytesIO(self.data), encoding, newline="") as text:
            yield from text

    @property
    def torn(self) -> bool:
        """Tell whether the last line has no end."""
        return self.data[-1:] not in (b"\n", b"\r") and self.data[-2:] not in (b"\n\0", b"\r\0")

    def digest(self) -> bytes:
        content = blake2b(digest_size=16)
        for line in self.lines():
            content.update(line.encode("utf-8", "surrogatepass"))
        return content.digest()


# -- encodings -----------------------------------------------------------------------------------------------------

_BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
# Where a pound sign stands in a ledger: before a figure, or alone in a heading's brackets.
_POUND = rb"(?:(?<=[\s,;|\"'(<>=+/~:@&-])|^)%s(?=\s?[-(]?\s?[0-9.]|\s*[)\"]|\s*$)"
# Of Windows: the apostrophe of a genitive or of O'Brien, a dash between blanks, quotes around words or capitals. In DOS each is
# a letter that no word has there: CHILDRENÆS, a lone û.
_WINDOWS = [
    _POUND % rb"\xa3", rb"[A-Za-z]\x92[sS]\b", rb"\b[OD]\x92[A-Z]", rb"(?<=[\w)] )\x96(?= [\w(])",
    rb"(?<![A-Za-z\x80-\xff])[\x8b\x93][A-Z][^\x80-\xff\n]{0,80}[\x9b\x94](?![A-Za-z\x80-\xff])",
]  # fmt: skip
_DECISIVE = {"cp1252": re.compile(b"|".join(_WINDOWS), re.M), "cp850": re.compile(_POUND % rb"\x9c", re.M)}
_ALSO = "£€§°–—’´`¨©®™¼½¾²³\u00a0"  # what British office programs write besides accented letters
_BETWEEN_WORDS = "‘“”‹›…•·×"


def encodings(where: str, data: bytes, encoding: str | None = None) -> list[str]:
    """
    The encodings that the evidence does not exclude, each with a different text. The evidence is a byte order mark, valid
    UTF-8, a byte that no other reading explains where it stands (a pound sign is 0xA3 in Windows-1252, 0x9C in DOS 437 and
    850; an apostrophe or a dash of Windows is a letter in DOS), and letters that make sense.

    :raises BadRecordError: no encoding is left.
    """
    marked = next((name for bom, name in _BOMS.items() if data.startswith(bom)), None)
    if sure := marked or encoding:
        if not _decodes(Text(data, sure)):
            raise _refused(
                where, "encoding", f"is not {sure}, although its first bytes or the settings say so", "bytes"
            )
        return [sure]
    if _decodes(Text(data, "utf-8")):
        return ["utf-8"]
    if _ends_within_a_character(data):
        raise _refused(where, "file", "ends in the middle of a character: it was cut off", "bytes")
    decided = [name for name, sign in _DECISIVE.items() if sign.search(data)]
    if len(decided) > 1:
        raise _refused(where, "encoding", "has signs of both Windows and DOS: two files were pasted together", "bytes")
    names = {"cp1252": ["cp1252"], "cp850": ["cp850", "cp437"]}.get("".join(decided), ["cp1252", "cp850", "cp437"])
    left: dict[bytes, str] = {}
    for name in names:
        if _decodes(text := Text(data, name), sensible=True):
            left.setdefault(text.digest(), name)
    if not left:
        raise _refused(where, "encoding", "is none of UTF-8, UTF-16, Windows-1252, DOS 850 and DOS 437", "bytes")
    return list(left.values())


def _ends_within_a_character(data: bytes) -> bool:
    """Tell whether all but the last bytes are UTF-8 beyond ASCII, and these begin a character."""
    begun = re.search(rb"[\xc2-\xf4][\x80-\xbf]{0,2}\Z", data[-3:])
    whole = data[: len(data) - len(begun[0])] if begun else b""
    return not whole.isascii() and _decodes(Text(whole, "utf-8"))


def _decodes(text: Text, *, sensible: bool = False) -> bool:
    """
    Tell whether the bytes are text, and, if asked, whether every character is one that a British office would write
    there.
    """
    try:
        return not any("\0" in line or (sensible and not _sensible(line)) for line in text.lines())
    except UnicodeError:
        return False


def _sensible(line: str) -> bool:
    """Tell whether every character beyond ASCII is one that a British office writes, and stands where one stands."""
    return line.isascii() or all(_at_home(line, found.start()) for found in re.finditer(r"[^\x00-\x7f]", line))


def _at_home(text: str, at: int) -> bool:
    sign, before, behind = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if sign in _BETWEEN_WORDS:
        return not (before.isalpha() and behind.isalpha())
    if sign in _ALSO:
        return True
    # A capital in the middle of a word, as in "CafÚ", is a small letter of the other encoding.
    return unicodedata.name(sign, "").startswith("LATIN") and not (sign.isupper() and before.islower())


# -- delimited text ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delimited:
    """The rows of a text by one delimiter."""

    text: Text
    delimiter: str

    def __iter__(self) -> Iterator[list[str]]:
        return csv.reader(self.text.lines(), delimiter=self.delimiter, strict=True)

    def count(self) -> int | str:
        """The number of rows, or the reason why they cannot be read."""
        rows = cells = 0
        try:
            for row in self:
                rows += 1
                cells += len(row)
                if rows > MOST_ROWS or cells > MOST_CELLS:
                    return f"has more than {MOST_ROWS} rows or {MOST_CELLS} cells"
        except csv.Error as error:
            return f"is not text that a CSV reader understands ({error})"
        return rows


def _delimited(where: str, text: Text) -> list[Table]:
    counts = {d: Delimited(text, d).count() for d in _delimiters(text)}
    whole = {d: count for d, count in counts.items() if isinstance(count, int)}
    if not whole:
        why = next((count for count in counts.values() if isinstance(count, str)), "has no delimiter of " + _named())
        raise _refused(where, "file", why, "text")
    return [Table(Delimited(text, d), n, f"{text.encoding}, {DELIMITERS[d]}", d, text.torn) for d, n in whole.items()]


def _delimiters(text: Text) -> list[str]:
    """The delimiters that occur in the text."""
    missing = set(DELIMITERS)
    for line in text.lines():
        missing -= {d for d in missing if d in line}
        if not missing:
            break
    return [d for d in DELIMITERS if d not in missing]


def _named() -> str:
    return ", ".join(DELIMITERS.values())


def _refused(where: str, field: str, rule: str, shape: str) -> BadRecordError:
    return BadRecordError(
        where, field=field, rule=rule, shape=shape,
        fix="export it again as UTF-8 CSV or xlsx, or name its encoding in the settings",
    )  # fmt: skip


def numbered(table: Table) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Each row with its number, from 1; the numbers of a further sheet are greater than all of those before it."""
    return enumerate(table.rows, start=table.before + 1)
