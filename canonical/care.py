"""
Children's social care, continued: the facts that the SSDA903 return and Ofsted's Annex A ask for besides.

Names follow the Standard Safeguarding Dataset v1.4, codes the SSDA903 return; those of no SSD object name the columns of Annex A.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from canonical.children import _OfAChild
from canonical.entity import IDENTIFYING, PLAIN, SPECIAL, Entity
from canonical.values import Code, Day, Text

__all__ = ["CARE", "Adopter", "Conviction", "EarlyHelp", "Mother", "PreviousPermanence", "Unaccompanied"]


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


class EarlyHelp(_OfAChild):
    """
    Somebody assesses what a child and its family need early, before the child is in need (SSD `ssd_early_help_episodes`; Annex A
    list 2).
    """

    type_name: ClassVar[str] = "early-help"

    start_date: Annotated[Day | None, SPECIAL] = None
    completed_date: Annotated[Day | None, SPECIAL] = None
    organisation: Annotated[Text | None, SPECIAL] = None
    """The organisation that completes the assessment."""


class Adopter(_OfAChild):
    """
    A person applies to adopt: the stages of the application (Annex A list 11). `person` is the adopter, not the child.
    """

    type_name: ClassVar[str] = "adopter"
    standard: ClassVar[str] = "Ofsted Annex A list 11"

    family: Annotated[Code | None, PLAIN] = None
    """The source's identifier of the family that adopts together."""
    fostering_for_adoption: Annotated[bool | None, SPECIAL] = None
    enquiry_date: Annotated[Day | None, SPECIAL] = None
    stage_1_start_date: Annotated[Day | None, SPECIAL] = None
    stage_1_end_date: Annotated[Day | None, SPECIAL] = None
    stage_2_start_date: Annotated[Day | None, SPECIAL] = None
    stage_2_end_date: Annotated[Day | None, SPECIAL] = None
    application_date: Annotated[Day | None, SPECIAL] = None
    approved_date: Annotated[Day | None, SPECIAL] = None
    matched_date: Annotated[Day | None, SPECIAL] = None
    placed_date: Annotated[Day | None, SPECIAL] = None
    children_placed: Annotated[int | None, SPECIAL, Field(ge=0)] = None
    adoption_order_date: Annotated[Day | None, SPECIAL] = None
    left_date: Annotated[Day | None, SPECIAL] = None
    left_reason: Annotated[Code | None, SPECIAL] = None


CARE: tuple[type[Entity], ...] = (PreviousPermanence, Conviction, Mother, Unaccompanied, EarlyHelp, Adopter)
