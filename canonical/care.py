"""
Children's social care, continued: the facts about a looked-after child that the SSDA903 return asks for besides.

Names follow the Standard Safeguarding Dataset v1.4, codes the SSDA903 return.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical.children import _OfAChild
from canonical.entity import IDENTIFYING, SPECIAL, Entity
from canonical.values import Code, Day

__all__ = ["CARE", "Conviction", "Mother", "PreviousPermanence", "Unaccompanied"]


class PreviousPermanence(_OfAChild):
    """
    A looked-after child had been adopted, or in another permanent home, before (SSD `ssd_cla_previous_permanence`; SSDA903
    file PrevPerm).
    """

    type_name: ClassVar[str] = "previous-permanence"

    option: Annotated[Code | None, SPECIAL] = None
    """`P1` … `P4`; `Z1` where there was none."""
    authority: Annotated[Code | None, SPECIAL] = None
    """The council that was responsible for the child then: its code, or where it was outside of England."""
    order_date: Annotated[Day | None, SPECIAL] = None


class Conviction(_OfAChild):
    """A looked-after child was convicted of an offence, or was not (SSD `ssd_cla_convictions`; SSDA903 `CONVICTED`)."""

    type_name: ClassVar[str] = "conviction"

    convicted: Annotated[bool, SPECIAL]
    """Tell whether there was a conviction in the return's year, if the source says no more than that."""
    conviction_date: Annotated[Day | None, SPECIAL] = None
    offence: Annotated[Code | None, SPECIAL] = None


class Mother(_OfAChild):
    """A looked-after child is herself the mother of a child (SSD `ssd_mother`; SSDA903 `MOTHER`, `MC_DOB`)."""

    type_name: ClassVar[str] = "mother"

    child_birth_date: Annotated[Day | None, IDENTIFYING] = None


class Unaccompanied(_OfAChild):
    """
    A child came alone and seeks asylum (SSDA903 file UASC; SSD `ssd_immigration_status`).
    """

    type_name: ClassVar[str] = "unaccompanied"

    end_date: Annotated[Day | None, SPECIAL] = None
    """The day on which the child stops being one, mostly the eighteenth birthday (SSDA903 `DUC`)."""


CARE: tuple[type[Entity], ...] = (PreviousPermanence, Conviction, Mother, Unaccompanied)
