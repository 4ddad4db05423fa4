"""
The columns that several files of the return have in common, and those of its code lists that are complete and have not changed.

Source: the return's schema of 2017 and its yearly changes, as open validators read them. Other lists change from year to year:
their codes are published as they stand.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from adapters.kit.codes import CodeMap
from adapters.kit.rows import DayWritten, Soft

_FORM = DayWritten("%d/%m/%Y")
Day = Annotated[date, _FORM]
MaybeDay = Annotated[date | None, _FORM]


def _list(name: str, codes: str, since: int = 2017) -> CodeMap:
    every = codes.split()
    same = dict(zip(every, every, strict=True))
    return CodeMap(f"ssda903-{name}", same, "the return's schema", date(since, 4, 1), "[A-Z0-9]{1,6}")


MissingOrAbsent = Annotated[str, _list("missing", "M A")]
CinCode = Soft[Annotated[str | None, _list("cin", "N1 N2 N3 N4 N5 N6 N7 N8")]]
Begins = Soft[Annotated[str | None, _list("rne", "S L P T B U")]]
Provider = Soft[Annotated[str | None, _list("place-provider", "PR0 PR1 PR2 PR3 PR4 PR5")]]
TakesPart = Soft[Annotated[str | None, _list("review-code", "PN0 PN1 PN2 PN3 PN4 PN5 PN6 PN7")]]
NoScore = Soft[Annotated[str | None, _list("sdq-reason", "SDQ1 SDQ2 SDQ3 SDQ4 SDQ5")]]
InTouch = Soft[Annotated[str | None, _list("in-touch", "YES NO DIED REFU NREQ RHOM")]]
Option = Soft[Annotated[str | None, _list("prev-perm", "P1 P2 P3 P4 Z1")]]
AdoptersSex = Soft[Annotated[str | None, _list("sex-adoptr", "M1 F1 MM FF MF")]]
AdoptersStatus = Soft[Annotated[str | None, _list("ls-adoptr", "L0 L11 L12 L2 L3 L4")]]
NoLonger = Soft[Annotated[str | None, _list("reason-placed-ceased", "RD1 RD2 RD3 RD4")]]
WorkerLeft = Soft[
    Annotated[
        str | None,
        _list("sw-reason", "MANAGE FCONTA LEFTRL ORGRST TSPROC ABSENC CHCHAN PCCHAN SWDIED OTHERS", 2023),
    ]
]
