"""Adoption, and permanent homes before care: the files AD1, PlacedAdoption and PrevPerm."""

from __future__ import annotations

from typing import NamedTuple

from adapters.kit.rows import Soft, row_of
from adapters.kit.typed import row_key
from adapters.ssda903.child import person_key
from adapters.ssda903.codes import AdoptersSex, AdoptersStatus, MaybeDay, NoLonger, Option
from canonical.care import PreviousPermanence
from canonical.children import Permanence

AD1, PLACED = "ad1-", "placed-"
"""A child has a line in each of these files: together they are what the return says of the way to adoption."""


@row_of("AD1", key="child")
class Ad1(NamedTuple):
    child: str
    date_int: MaybeDay
    date_match: MaybeDay
    foster_care: Soft[bool | None]
    nb_adoptr: Soft[int | None]
    sex_adoptr: AdoptersSex
    ls_adoptr: AdoptersStatus


@row_of("PLACED_FOR_ADOPTION", key="child")
class Placed(NamedTuple):
    child: str
    date_placed: MaybeDay
    date_placed_ceased: MaybeDay
    reason_placed_ceased: NoLonger


@row_of("PREVIOUS_PERMANENCE", key="child")
class Previous(NamedTuple):
    child: str
    prev_perm: Option
    la_perm: str | None
    date_perm: MaybeDay


def decided(source: str, a: Ad1) -> Permanence:
    return Permanence(
        key=row_key(source, "permanence", a, AD1),
        person=person_key(source, a.child),
        decision_date=a.date_int,
        matched_date=a.date_match,
        adopted_by_carer=a.foster_care,
        adopters=a.nb_adoptr,
        adopters_sex=a.sex_adoptr,
        adopters_legal_status=a.ls_adoptr,
    )


def placed(source: str, p: Placed) -> Permanence:
    return Permanence(
        key=row_key(source, "permanence", p, PLACED),
        person=person_key(source, p.child),
        placed_date=p.date_placed,
        reversed_date=p.date_placed_ceased,
        reversed_reason=p.reason_placed_ceased,
    )


def previous(source: str, p: Previous) -> PreviousPermanence:
    return PreviousPermanence(
        key=row_key(source, "previous-permanence", p),
        person=person_key(source, p.child),
        option=p.prev_perm,
        authority=p.la_perm,
        order_date=p.date_perm,
    )
