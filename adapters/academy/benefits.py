"""Benefit claims, their households and the people in them: the tables hbclaim, hbhousehold and hbmember."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from sqlalchemy import Integer, SmallInteger, String, literal

from adapters.academy.columns import Line32, Line35, Moment, Number, Postcode10, Small, Uprn, address
from adapters.academy.settings import AcademySettings
from adapters.kit.sql import Choice, Joined, Soft, Tables, row_of
from canonical.key import key_of
from canonical.people import Name, Person, Sex
from canonical.revenues import BenefitClaim, BenefitHousehold

_SEXES = {1: Sex.MALE, 2: Sex.FEMALE}
PREFIX = "hb-"
"""A person of a benefit claim and one of a council tax account may have the same number."""


@row_of("hbmember", key=("claim_id", "person_ref"))
class Hbmember(NamedTuple):
    claim_id: Number
    person_ref: Number
    title: Annotated[str | None, String(4)]
    forename: Line32
    surname: Line32
    birth_date: Moment
    deceased_date: Moment
    gender: Small
    nino: Soft[Annotated[str | None, String(10)]]
    unique_pupil_num: Soft[Annotated[str | None, String(15)]]


@row_of("hbmember", of="claim_id", order="person_ref", also={"claim_id": Number})
class ClaimMember(NamedTuple):
    person_ref: Number
    house_id: Small
    member_id: Small


@row_of("hbhousehold", key=("claim_id", "house_id"), of="claim_id", also={"claim_id": Number})
class ClaimHousehold(NamedTuple):
    house_id: Annotated[int, SmallInteger()]
    from_date: Moment
    to_date: Moment
    addr1: Line35
    addr2: Line35
    addr3: Line32
    addr4: Line32
    post_code: Soft[Postcode10]
    uprn: Soft[Uprn]


@row_of("hbclaim", key="claim_id")
class Hbclaim(NamedTuple):
    claim_id: Number
    application_date: Moment
    review_date: Moment
    cancel_date: Moment
    claimant_member: Joined[int | None]
    households: tuple[ClaimHousehold, ...]
    members: tuple[ClaimMember, ...]


def claims(_: Tables, settings: AcademySettings) -> Choice:
    # The mapping knows nothing but its row, so that the setting stands in each.
    return Choice(joined={"claimant_member": literal(settings.claimant_member, Integer())})


def person(source: str, m: Hbmember) -> Person:
    return Person(
        key=_person_key(source, m.claim_id, m.person_ref),
        names=(Name(given=m.forename, family=m.surname, title=m.title),),
        birth_date=m.birth_date,
        death_date=m.deceased_date,
        sex=_SEXES.get(m.gender or 0, Sex.UNKNOWN),
        nino=m.nino,
        upn=m.unique_pupil_num,
    )


def claim(source: str, c: Hbclaim) -> BenefitClaim:
    claimants = [m.person_ref for m in c.members if m.member_id is not None and m.member_id == c.claimant_member]
    return BenefitClaim(
        key=key_of(source, "benefit-claim", c.claim_id),
        number=str(c.claim_id),
        claimant=_person_key(source, c.claim_id, claimants[0]) if len(claimants) == 1 else None,
        application_date=c.application_date,
        review_date=c.review_date,
        cancel_date=c.cancel_date,
        households=tuple(_household(source, c, each) for each in c.households),
    )


def _household(source: str, c: Hbclaim, h: ClaimHousehold) -> BenefitHousehold:
    return BenefitHousehold(
        start_date=h.from_date,
        end_date=h.to_date,
        address=address(h.addr1, h.addr2, h.addr3, h.addr4, postcode=h.post_code, uprn=h.uprn),
        members=tuple(_person_key(source, c.claim_id, m.person_ref) for m in c.members if m.house_id == h.house_id),
    )


def _person_key(source: str, claim_id: int, person_ref: int) -> str:
    return key_of(source, "person", f"{PREFIX}{claim_id}", person_ref)
