"""
From bytes to text: the encoding is decided by evidence, or the file is refused. Memory does not grow with the file.

Nothing here knows a column. If a text can be read in several encodings, every one that is not excluded is given.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import BinaryIO

from canonical.errors import BadRecordError

_PIECE = 1_000_000  # bytes that are looked at together


Content = bytes | BinaryIO
"""A file's bytes, or the file itself, on which `seek` works."""


@dataclass(frozen=True, slots=True)
class Text:
    """A file's bytes as text, decoded anew each time that somebody goes through its lines: one reader at a time."""

    data: Content
    encoding: str

    def lines(self) -> Iterator[str]:
        """
        The lines with their ends, as the csv module needs them: it knows CR, LF and CRLF itself, and keeps those inside quotes.

        :raises UnicodeError: the bytes are no text of this encoding.
        """
        yield from self._opened()

    def pieces(self) -> Iterator[str]:
        """The text, a piece at a time. Raises as `lines` does."""
        text = self._opened()
        while piece := text.read(_PIECE):
            yield piece

    @property
    def torn(self) -> bool:
        """Tell whether the last line has no end."""
        file = _from_start(self.data)
        size = file.seek(0, io.SEEK_END)
        file.seek(max(size - 2, 0))
        last = file.read()
        return last[-1:] not in (b"\n", b"\r") and last not in (b"\n\0", b"\r\0")

    @property
    def ends_as_in_dos(self) -> bool:
        """Tell whether the last byte is the one by which DOS ends a text."""
        file = _from_start(self.data)
        file.seek(max(file.seek(0, io.SEEK_END) - 1, 0))
        return file.read() == b"\x1a"

    def digest(self) -> bytes:
        content = blake2b(digest_size=16)
        for piece in self.pieces():
            content.update(piece.encode("utf-8", "surrogatepass"))
        return content.digest()

    def _opened(self) -> io.TextIOWrapper:
        # Without a byte order mark the streaming codec raises an error; Windows writes little-endian.
        bare = self.encoding == "utf-16" and _from_start(self.data).read(2) not in (b"\xff\xfe", b"\xfe\xff")
        return _OpenText(_from_start(self.data), "utf-16-le" if bare else self.encoding, newline="")


class _OpenText(io.TextIOWrapper):
    """Text over a file that somebody else closes: whoever has read a part of the text may forget it."""

    def close(self) -> None: ...


def _from_start(data: Content) -> BinaryIO:
    if isinstance(data, bytes):
        return io.BytesIO(data)
    data.seek(0)
    return data


def _in_lines(data: Content) -> Iterator[bytes]:
    """The bytes, a piece at a time; a piece ends with a line, unless the line is very long."""
    file = _from_start(data)
    while piece := file.read(_PIECE):
        yield piece + file.readline(_PIECE)


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


def encodings(where: str, data: Content, encoding: str | None = None) -> list[str]:
    """
    The encodings that the evidence does not exclude, each with a different text. The evidence is a byte order mark, valid
    UTF-8, a byte that no other reading explains where it stands (a pound sign is 0xA3 in Windows-1252, 0x9C in DOS 437 and
    850; an apostrophe or a dash of Windows is a letter in DOS), and letters that make sense.

    :raises BadRecordError: no encoding is left.
    """
    begin = _from_start(data).read(4)
    marked = next((name for bom, name in _BOMS.items() if begin.startswith(bom)), None)
    if sure := marked or encoding:
        if not _decodes(Text(data, sure)):
            raise refused(where, "encoding", f"is not {sure}, although its first bytes or the settings say so", "bytes")
        return [sure]
    if _decodes(Text(data, "utf-8")):
        return ["utf-8"]
    if _ends_within_a_character(data):
        raise refused(where, "file", "ends in the middle of a character: it was cut off", "bytes")
    left: dict[bytes, str] = {}
    for name in _possible(where, data):
        if _decodes(text := Text(data, name), sensible=True):
            left.setdefault(text.digest(), name)
    if not left:
        raise refused(where, "encoding", "is none of UTF-8, UTF-16, Windows-1252, DOS 850 and DOS 437", "bytes")
    return list(left.values())


def _possible(where: str, data: Content) -> list[str]:
    """The encodings of one byte a character that no decisive sign excludes."""
    decided = {name for piece in _in_lines(data) for name, sign in _DECISIVE.items() if sign.search(piece)}
    if len(decided) > 1:
        raise refused(where, "encoding", "has signs of both Windows and DOS: two files were pasted together", "bytes")
    return {"cp1252": ["cp1252"], "cp850": ["cp850", "cp437"]}.get("".join(decided), ["cp1252", "cp850", "cp437"])


def refused(where: str, field: str, rule: str, shape: str) -> BadRecordError:
    fix = "export it again as UTF-8 CSV or xlsx, or name its encoding in the settings"
    return BadRecordError(where, field=field, rule=rule, shape=shape, fix=fix)


def _ends_within_a_character(data: Content) -> bool:
    """Tell whether all but the last bytes are UTF-8 beyond ASCII, and these begin a character."""
    decoder, beyond, file = codecs.getincrementaldecoder("utf-8")(), False, _from_start(data)
    try:
        while piece := file.read(_PIECE):
            text = decoder.decode(piece)
            beyond = beyond or not text.isascii()
            if "\0" in text:
                return False
    except UnicodeError:
        return False
    return beyond and bool(decoder.getstate()[0])


def _decodes(text: Text, *, sensible: bool = False) -> bool:
    """
    Tell whether the bytes are text, and, if asked, whether every character is one that a British office would write
    there.
    """
    try:
        pieces = text.lines() if sensible else text.pieces()
        return not any("\0" in piece or (sensible and not _sensible(piece)) for piece in pieces)
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
