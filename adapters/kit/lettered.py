"""
Codes that are written with their words, as forms for people have them: `b) Female`, `q) 6: Police`, `N1 - Abuse or neglect`.

>>> code_of("q) 6: Police"), code_of("N1 - Abuse or neglect"), code_of("f) U6: Foster placement - not FFA"), code_of("No")
('6', 'N1', 'U6', 'No')
"""

from __future__ import annotations

import re

from adapters.kit.codes import CodeMap

_LETTER = re.compile(r"[a-z]{1,2}\)\s*", re.I)
_CODE = re.compile(r"([A-Z]{0,6}[0-9]{0,3}[A-Z]?)\s*(?::|\s-\s).*", re.I | re.S)


def words_of(written: str) -> str:
    """The words without the letter of the list in front of them."""
    return _LETTER.sub("", written.strip(), count=1)


def code_of(written: str) -> str:
    """The code that stands before a colon or a dash; all of the words if none does."""
    words = words_of(written)
    found = _CODE.fullmatch(words)
    return found[1] if found and found[1] else words


class LetteredCodes(CodeMap):
    """A code map whose entries are words or codes: what is written may have a letter before them, and words behind a code."""

    def national(self, local: str) -> str | None:
        found = CodeMap.national(self, words_of(local))
        return CodeMap.national(self, code_of(local)) if found is None else found

    def unknown(self, local: str) -> str:
        return CodeMap.unknown(self, code_of(local))
