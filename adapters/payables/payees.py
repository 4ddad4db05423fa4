"""
This module tells which supplier's numbers stand for several suppliers: sundry numbers, under which a ledger pays
whoever it pays once.

A number whose names are unlike, or which is called so (`ONETIME`), never becomes one supplier: its payees are told apart by name,
or quarantined, as the settings say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

from adapters.payables.cells import plain
from adapters.payables.rows import CellFault, PayablesLine

Unlike = Literal["by-name", "quarantine", "one-supplier"]
_FORMS = {
    "ltd", "limited", "plc", "llp", "lp", "cic", "cio", "inc", "co", "company", "group", "uk", "gb", "the", "and", "of",
    "services", "service", "t", "a",
}  # fmt: skip
_SPELT = 0.8  # of a name's letters are the same in another spelling of it


def alike(one: str, other: str) -> bool:
    """
    Tell whether two names may be one supplier's: one has all words of the other, or nearly the same letters.

    >>> alike("Ashgrove Ltd", "ASHGROVE (UK) LIMITED"), alike("Smith Plumbing", "Smith Catering")
    (True, False)
    """
    ours, theirs = _words(one), _words(other)
    if (ours and theirs and (ours <= theirs or theirs <= ours)) or plain(one) == plain(other):
        return True
    return SequenceMatcher(None, plain(one), plain(other)).ratio() >= _SPELT


def _words(name: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", name.casefold())) - _FORMS


@dataclass(slots=True)
class Payees:
    """Collects the names that each supplier's number of a file has. A number without names stands for several suppliers."""

    unlike: Unlike
    sundry: re.Pattern[str]
    _names: dict[str, list[str] | None] = field(default_factory=dict)

    def meet(self, line: PayablesLine) -> None:
        """Note the name that a line gives to a number."""
        number, name = line.words.get("supplier_number"), line.words.get("supplier_name")
        if not number or not name or line.redacted or self.unlike == "one-supplier":
            return
        if self.sundry.fullmatch(number):
            self._names[number] = None
        names = self._names.setdefault(number, [])
        if names is None or name in names:
            return
        if all(alike(name, each) for each in names):
            names.append(name)
        else:
            self._names[number] = None

    def settled(self, line: PayablesLine, heading: str) -> PayablesLine:
        """Return the line without a number of several suppliers, or with a fault. Call it after all lines were met."""
        number = line.words.get("supplier_number", "")
        if line.redacted or self._names.get(number, []) is not None:
            return line
        if self.unlike == "by-name":
            del line.words["supplier_number"]
        else:
            line.faults.append(CellFault(line.row, heading, "stands for several suppliers whose names are unlike", "a number"))
        return line
