"""
These are code lists of the CIN census and of the SSDA903 return, as children's systems hold them.

Each list is a code map: a council whose system holds codes of its own gives a map of the same name in the settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

from adapters.kit.codes import CodeMap

_AGREED = date(2026, 4, 1)
_CIN, _SSDA903 = "the DfE's CIN census", "the DfE's SSDA903 return"


def _national(name: str, owner: str, codes: str, looks: str = "[A-Z0-9]{1,4}") -> CodeMap:
    """A list of national codes, which stand for themselves."""
    return CodeMap(name, {code: code for code in codes.split()}, owner, _AGREED, looks)


SOURCE = _national("referral_source", _CIN, "1A 1B 1C 1D 2A 2B 3A 3B 3C 3D 3E 3F 4 5A 5B 5C 5D 6 7 8 9 10")
CLOSURE = _national("closure_reason", _CIN, " ".join(f"RC{n}" for n in range(1, 10)))
NEED = _national("need", _CIN, " ".join(f"N{n}" for n in range(10)))
ABUSE = _national("abuse_category", _CIN, "NEG PHY SAB EMO MUL")
DISABILITY = _national("disability", _CIN, "NONE MOB HAND PC INC COMM LD HEAR VIS BEH CON AUT DDA")
FACTOR = _national(
    "assessment_factor", _CIN,
    " ".join(f"{n}{letter}" for n in (*range(1, 7), 18, 19) for letter in "ABC")
    + " 7A 8B 8C 8D 8E 8F 20 21 22A 23A 24A " + " ".join(f"{n}A" for n in range(9, 18)),
)  # fmt: skip
CEASED = _national(
    "episode_ceased", _SSDA903, "E2 E3 E4A E4B E5 E6 E7 E8 E9 E11 E12 E13 E14 E15 E16 E17 E41 E45 E46 E47 E48 X1"
)
PLACEMENT = _national(
    "placement_type", _SSDA903, "A3 A4 A5 A6 H5 K1 K2 P1 P2 P3 R1 R2 R3 R5 S1 T0 T1 T2 T3 T4 U1 U2 U3 U4 U5 U6 Z1"
)
PROVIDER = _national("placement_provider", _SSDA903, "PR0 PR1 PR2 PR3 PR4 PR5")
CHANGE = _national(
    "placement_change", _SSDA903, "CARPL CLOSE ALLEG STAND APPRR CREQB CREQO CHILD LAREQ PLACE CUSTOD OTHER", "[A-Z]{4,6}"
)
IN_TOUCH = _national("in_touch", _SSDA903, "YES NO DIED REFU NREQ RHOM")
ACTIVITY = _national("activity", _SSDA903, "F1 P1 F2 P2 F4 P4 F5 P5 G4 G5 G6")
ACCOMMODATION = _national("accommodation", _SSDA903, "B C D E G H K R S T U V")
SUITABLE = _national("accommodation_suitable", _SSDA903, "1 2")

ADOPTIVE = ("A3", "A4", "A5", "A6")
"""Placed for adoption: SSDA903 PLACE."""
WITH_CARER = ("A3", "A5")
"""The foster carer with whom the child lives already adopts it: SSDA903 PLACE."""
PLACEMENT_ORDER = "E1"
"""A placement order was granted: SSDA903 LS."""

UPN_REASON = re.compile(r"UN(10|[1-9])")


def upn_or_reason(written: str | None) -> tuple[str | None, str | None]:
    """Where there is no UPN its column often holds the reason instead: the UPN, and the reason for none."""
    reason = (written or "").upper()
    return (None, reason) if UPN_REASON.fullmatch(reason) else (written, None)


def in_order(factors: Iterable[str]) -> tuple[str, ...]:
    """Factors of an assessment, each once, as the census lists them: by number, then by letter."""
    return tuple(sorted(set(factors), key=lambda code: (int(re.sub(r"\D", "", code)), code)))
