"""
This module reads what a 400 says: which records it names, and why, without a word of what was in them.

The API refuses a whole batch and names the failing records by their index in brackets, counted from 0: `[3]`, or
several together: `[0, 3]`. An index that follows a name or another bracket is a place inside a record, and no record.
The text may quote values, so nothing of it is repeated: it is searched for the contract's own names and known rules.
"""

from __future__ import annotations

import re
from typing import Final

from flows.dfe_csc.contract import FIELDS

_NAMED: Final = re.compile(r"(?<![\w\]])\[\s*(\d{1,3}(?:\s*,\s*\d{1,3})*)\s*\]")
_WORD: Final = re.compile(r"\w+")
_RULES: Final = (
    ("too long", re.compile(r"maxLength|too long|at most \d+ char|longer than", re.IGNORECASE)),
    ("too short", re.compile(r"minLength|too short|at least \d+ char|shorter than", re.IGNORECASE)),
    ("not of the right form", re.compile(r"pattern|does not match|should match", re.IGNORECASE)),
    ("not on the code list", re.compile(r"\benum\b|not one of|not a valid code|should be '", re.IGNORECASE)),
    ("missing", re.compile(r"required|missing", re.IGNORECASE)),
    ("not known to the API", re.compile(r"additional propert|extra|unexpected field", re.IGNORECASE)),
    ("not distinct or not sorted", re.compile(r"unique|distinct|duplicate|sorted", re.IGNORECASE)),
    ("not a date", re.compile(r"valid date|date format|not a date|format: date", re.IGNORECASE)),
)


def named(text: str, records: int) -> list[int]:
    """The indexes of the records that are named, in order; none where the text names nobody in the batch."""
    indexes = {int(index) for match in _NAMED.finditer(text) for index in match.group(1).split(",")}
    return sorted(index for index in indexes if index < records)


def reason(text: str, index: int, alone: bool) -> str:
    """
    Say why a record was refused, in our own words. Where it was not `alone`, only lines that speak of its index count.
    """
    ours = re.compile(rf"\[{index}\]|\b(record|item|index) {index}\b")
    about = [line for line in text.splitlines() if alone or ours.search(line)]
    said = "\n".join(about)
    fields = list(dict.fromkeys(word for word in _WORD.findall(said) if word in FIELDS))
    rules = [rule for rule, sign in _RULES if sign.search(said)]
    parts = [", ".join(fields[:6]), " and ".join(rules[:3])]
    return "the API refused the record (400): " + (": ".join(part for part in parts if part) or "it does not say why")
