"""
This module tells which supplier's numbers stand for several suppliers: sundry numbers, under which a ledger pays
whoever it pays once.

A number whose names are unlike, or which is called so (`ONETIME`), never becomes one supplier: its payees are told apart by name,
or quarantined, as the settings say. If its names are unlike from file to file, its supplier may as well have a new name:
what the newer file says of it is quarantined until a person tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
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
_WHO = (
    "find out who the number stands for: for several, name it in the layout's `sundry`; for one, whose name has changed, name it "
    "in `renamed`, or accept this file (`ironbridge held`)"
)
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


Names = dict[str, list[str] | None]
"""The names that each supplier's number has in a file; None if they are unlike, or the number is called sundry."""


@dataclass(frozen=True, slots=True)
class EarlierPayees:
    """Holds the names that suppliers' numbers have in another file, an older one. `extract` is that file's name."""

    extract: str
    names: Names = field(repr=False)

    def contradict(self, number: str, names: list[str]) -> bool:
        """Tell whether that file gives the number to somebody else: none of its names is like one of these."""
        theirs = self.names.get(number)
        if not theirs or not set(theirs).isdisjoint(names):
            return False
        return not any(alike(one, other) for one in theirs for other in names)


@dataclass(slots=True)
class Payees:
    """
    Collects the names that each supplier's number of a file has. `earlier` are older files, the newest first: a number that
    one of them gives to somebody else has had its supplier renamed, or stands for several. Only a person can tell, so its
    rows are in doubt until somebody has `accepted` that. Numbers that `renamed` names are one supplier whatever it is called.
    """

    unlike: Unlike
    sundry: re.Pattern[str]
    renamed: re.Pattern[str] = field(default_factory=lambda: re.compile(""))
    earlier: Sequence[EarlierPayees] = ()
    accepted: bool = False
    names: Names = field(default_factory=dict, repr=False)
    doubtful: dict[str, str] = field(default_factory=dict)
    """The numbers in doubt that were met, each with the older file that gives it to somebody else."""
    _compared: dict[str, str] = field(default_factory=dict)

    def meet(self, line: PayablesLine) -> None:
        """Note the name that a line gives to a number."""
        number, name = line.words.get("supplier_number"), line.words.get("supplier_name")
        if not number or not name or line.redacted or self.unlike == "one-supplier" or self.renamed.fullmatch(number):
            return
        if self.sundry.fullmatch(number):
            self.names[number] = None
        names = self.names.setdefault(number, [])
        if names is None or name in names:
            return
        if all(alike(name, each) for each in names):
            names.append(name)
        else:
            self.names[number] = None

    def settled(self, line: PayablesLine, heading: str) -> PayablesLine:
        """Return the line without a number of several suppliers, or with a fault. Call it after all lines were met."""
        number = line.words.get("supplier_number", "")
        if line.redacted or number not in self.names:
            return line
        if self.names[number] is not None:
            if extract := self._contradicting(number):
                self.doubtful[number] = extract
                rule = f"is the number of somebody else in the extract {extract}"
                line.faults.append(CellFault(line.row, heading, rule, "a number", _WHO))
        elif self.unlike == "by-name":
            del line.words["supplier_number"]
        else:
            line.faults.append(CellFault(line.row, heading, "stands for several suppliers whose names are unlike", "a number"))
        return line

    def _contradicting(self, number: str) -> str:
        """Return the newest of the older files that give the number to somebody else; an empty text if none does."""
        if number not in self._compared:
            names = [] if self.accepted else self.names[number] or []
            theirs = (each.extract for each in self.earlier if names and each.contradict(number, names))
            self._compared[number] = next(theirs, "")
        return self._compared[number]
