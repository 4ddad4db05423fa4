"""The child itself: the files Header and UASC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from adapters.kit.rows import Soft, row_of
from adapters.kit.typed import row_key
from adapters.ssda903.codes import Day, MaybeDay
from canonical.care import Mother, Unaccompanied
from canonical.key import key_of
from canonical.people import Identifier, Person, Sex

_SEXES = {"1": Sex.MALE, "2": Sex.FEMALE, "M": Sex.MALE, "F": Sex.FEMALE}  # letters from 2025
_WITHOUT_UPN = "UN"


@row_of("HEADER", key="child")
class Header(NamedTuple):
    child: str
    sex: str | None
    dob: Day
    ethnic: str | None
    upn: Soft[str | None]
    mother: str | None
    mc_dob: MaybeDay


@row_of("HEADER", key="child")
class YoungMother(NamedTuple):
    child: str
    mc_dob: MaybeDay


@row_of("UASC", key="child")
class Uasc(NamedTuple):
    child: str
    duc: MaybeDay


def person(source: str, h: Header) -> Person:
    # Where a child has no UPN its column says why: UN1 to UN7.
    reason = h.upn if h.upn and h.upn.startswith(_WITHOUT_UPN) and len(h.upn) <= 4 else None
    return Person(
        key=row_key(source, "person", h),
        birth_date=h.dob,
        sex=_SEXES.get((h.sex or "").upper(), Sex.UNKNOWN),
        ethnicity=h.ethnic,
        upn=None if reason else h.upn,
        upn_unknown_reason=reason,
        identifiers=(Identifier(system="ssda903", value=h.child),),
    )


def if_said(row: tuple[str | None, ...]) -> Iterator[tuple[str | None, ...]]:
    """The row if the return says anything of the child in its columns: as XML it leaves out what does not concern a child."""
    if any(value is not None for value in row[1:]):
        yield row


def mothers(h: Header) -> Iterator[YoungMother]:
    """The mother in a line as it was read: some exports write `1.0` for 1."""
    if h.mother not in ("", "0", "0.0", None) or h.mc_dob:
        yield YoungMother(h.child, h.mc_dob)


def mother(source: str, m: YoungMother) -> Mother:
    return Mother(key=row_key(source, "mother", m), person=person_key(source, m.child), child_birth_date=m.mc_dob)


def unaccompanied(source: str, u: Uasc) -> Unaccompanied:
    return Unaccompanied(key=row_key(source, "unaccompanied", u), person=person_key(source, u.child), end_date=u.duc)


def person_key(source: str, child: str) -> str:
    return key_of(source, "person", child)
