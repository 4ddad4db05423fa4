"""
Annex A's lists, written as `b) words`. Ofsted's words drift from council to council: a letter, case and words behind a code do
not count, and a map of the same name in the settings goes over a list.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from adapters.kit.lettered import LetteredCodes
from adapters.kit.rows import Soft

_OWNER, _SINCE = "Ofsted's Annex A", date(2023, 4, 1)


def _list(name: str, codes: dict[str, str], looks: str = "[A-Z0-9]{1,8}") -> LetteredCodes:
    return LetteredCodes(f"annex-a-{name}", codes, _OWNER, _SINCE, looks)


def _same(codes: str) -> dict[str, str]:
    return {code: code for code in codes.split()}


_ETHNICITIES = "WBRI WIRI WIRT WOTH WROM MWBC MWBA MWAS MOTH AIND APKN ABAN AOTH BCRB BAFR BOTH CHNE OOTH REFU NOBT"
_UNKNOWN = dict.fromkeys(("Not stated/recorded", "Neither", "Unknown", "U"), "U")
_SEXES = {"Male": "M", "Female": "F", "M": "M", "F": "F", **_UNKNOWN}
_ABUSE = {"Neglect": "NEG", "Physical abuse": "PHY", "Sexual abuse": "SAB", "Emotional abuse": "EMO", "Multiple": "MUL"}

SexWord = Soft[Annotated[str | None, _list("gender", _SEXES)]]
EthnicityCode = Soft[Annotated[str | None, _list("ethnicity", _same(_ETHNICITIES))]]
YesNo = Soft[Annotated[str | None, _list("yes-no", {"Yes": "Y", "No": "N", "Y": "Y", "N": "N"})]]
Need = Soft[Annotated[str | None, _list("need", _same("N0 N1 N2 N3 N4 N5 N6 N7 N8 N9"))]]
Abuse = Soft[Annotated[str | None, _list("abuse", _ABUSE | _same("NEG PHY SAB EMO MUL"))]]


def flag(answer: str | None) -> bool | None:
    return None if answer is None else answer == "Y"
