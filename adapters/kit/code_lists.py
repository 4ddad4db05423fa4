"""
Code lists of a national return: a code stands for itself, and one that the list does not have is told.

>>> from adapters.kit.code_lists import national_list
>>> CATEGORIES = national_list("cin-abuse", "NEG PHY SAB EMO MUL", "the CIN census", 2023)
>>> CATEGORIES.national("neg "), CATEGORIES.national("X")
('NEG', None)
"""

from __future__ import annotations

from datetime import date

from adapters.kit.codes import CodeMap


def national_list(name: str, codes: str, owner: str, since: int, looks: str = "[A-Z0-9]{1,6}") -> CodeMap:
    """
    Make the code map of a return's list; its codes are separated by blanks. `owner` is the return, `since` the calendar year in
    whose April the list began. A council that writes other codes gives a map of this name in its settings.
    """
    every = codes.upper().split()
    return CodeMap(name, dict(zip(every, every, strict=True)), owner, date(since, 4, 1), looks)
