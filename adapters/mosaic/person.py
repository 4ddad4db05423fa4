"""People: DM_PERSONS, where they live, and what the statutory returns ask of them."""

from __future__ import annotations

import re
from datetime import date
from itertools import groupby
from typing import Annotated, NamedTuple

from sqlalchemy import Numeric, String, case, exists, func, or_

from adapters.kit.sql import Choice, Joined, Soft, Tables, row_of
from adapters.mosaic.codes import DISABILITY
from adapters.mosaic.mart import Day, Flag, PersonsAnswer, answers, plain
from adapters.mosaic.settings import MosaicPeople, MosaicSettings
from canonical.errors import BadRecordError, shape_of
from canonical.key import key_of
from canonical.people import Address, ContactPoint, Identifier, ImmigrationStatus, Name, Person, Sex

_UPN_REASON = re.compile(r"UN(10|[1-9])")
_NO_STREETS = {"NOT FOUND", "UNKNOWN", "NO FIXED ABODE"}
"""People write these into the address when there is none."""


@row_of("DM_ETHNICITIES", key="ethnicity_code")
class DmEthnicities(NamedTuple):
    ethnicity_code: str
    cin_ethnicity_code: str | None


@row_of("DM_ADDRESSES", key="ref_addresses_people_id", of="person_id", also={"person_id": Annotated[int, Numeric(16, 0)]})
class DmAddresses(NamedTuple):
    address: Annotated[str | None, String(464)]
    post_code: Soft[str | None]
    address_type: str | None
    unique_id: Soft[Annotated[int | None, Numeric(15, 0)]]
    start_date: Day
    end_date: Day


@row_of("DM_DISABILITIES", key="disability_id", of="person_id")
class DmDisabilities(NamedTuple):
    cin_disability_category_code: Soft[Annotated[str | None, DISABILITY]]


@row_of("DM_TELEPHONE_NUMBERS", key=("telephone_number_id", "person_id"), of="person_id")
class DmTelephoneNumbers(NamedTuple):
    telephone_number: str | None
    telephone_number_type: str | None


@row_of("DM_PERSON_REFERENCES", key="reference_id", of="person_id")
class DmPersonReferences(NamedTuple):
    reference_type: str | None
    reference: Soft[str | None]


@row_of("DM_PERIODS_OF_CARE", key="period_of_care_id", of="person_id")
class DmPeriodsOfCare(NamedTuple):
    period_of_care_id: int
    start_date: Day


@row_of("DM_FORMER_LOOKED_AFTER", of="person_id", order="date_of_situation")
class FormerlyLookedAfter(NamedTuple):
    date_of_situation: Day


@row_of("DM_PERSONS", key="person_id", also={"context_flag": str})
class DmPersons(NamedTuple):
    person_id: int
    person_id_legacy: str | None
    ssda903_id: str | None
    nhs_id: Soft[Annotated[int | None, Numeric(10, 0)]]
    upn_id: Soft[str | None]
    former_upn_id: Soft[str | None]
    title: str | None
    first_name: str | None
    last_name: str | None
    date_of_birth: Day
    date_of_death: Day
    gender: str | None
    restricted: Flag
    full_ethnicity_code: Soft[str | None]
    nationality: Soft[str | None]
    email_address: Soft[str | None]
    ethnicity: Joined[str | None]
    unborn: Joined[bool]
    addresses: tuple[DmAddresses, ...]
    disabilities: tuple[DmDisabilities, ...]
    telephones: tuple[DmTelephoneNumbers, ...]
    references: tuple[DmPersonReferences, ...]
    immigration: tuple[PersonsAnswer, ...] = ()


def people(mart: Tables, settings: MosaicSettings) -> Choice:
    them, ethnicities = mart[DmPersons], mart[DmEthnicities]
    told = [mart[each].c.PERSON_ID for each in (DmPeriodsOfCare, FormerlyLookedAfter)]
    looked_after = [exists().where(person == them.c.PERSON_ID) for person in told]
    adults = plain(them.c.CONTEXT_FLAG) == "A"
    children = or_(them.c.CONTEXT_FLAG.is_(None), ~adults, *looked_after)
    expected = func.current_timestamp() < them.c.DATE_OF_BIRTH  # by the source's clock
    return Choice(
        where=children if settings.people is MosaicPeople.CHILDREN else None,
        source=them.outerjoin(ethnicities, ethnicities.c.ETHNICITY_CODE == them.c.FULL_ETHNICITY_CODE),
        joined={"ethnicity": ethnicities.c.CIN_ETHNICITY_CODE, "unborn": case((expected, "Y"), else_="N")},
        parts={"immigration": _immigration(mart, settings)},
    )


def _immigration(mart: Tables, settings: MosaicSettings) -> Choice | None:
    asked = settings.questions
    named = {"status": asked.immigration_status, "start": asked.immigration_start, "end": asked.immigration_end}
    said, meant = plain(mart[PersonsAnswer].c.TEXT_ANSWER), [each.upper() for each in settings.uasc_answers]
    chosen = answers(mart, PersonsAnswer, named)
    if chosen is None or chosen.where is None:
        return None
    question = chosen.joined["question"]
    return Choice(chosen.where, joined={"question": case((said.in_(meant), "UASC"), else_=question)})


def person(source: str, p: DmPersons) -> Person:
    """DM_PERSONS and what belongs to it as a person."""
    written = (p.upn_id or "").upper()
    reason = written if _UPN_REASON.fullmatch(written) else None  # where there is no UPN its column may hold the reason
    return Person(
        key=key_of(source, "person", p.person_id),
        names=(Name(given=p.first_name, family=p.last_name, title=p.title),),
        # A day that is still to come is the day on which a child is expected.
        birth_date=None if p.unborn else p.date_of_birth,
        expected_birth_date=p.date_of_birth if p.unborn else None,
        death_date=p.date_of_death,
        sex=_sex(p.gender),
        ethnicity=_ethnicity(p),
        nationality=p.nationality,
        disabilities=tuple(sorted({code for (code,) in p.disabilities if code and code != "NONE"})),
        upn=None if reason else p.upn_id,
        former_upn=p.former_upn_id,
        upn_unknown_reason=reason,
        nhs_number=None if p.nhs_id is None else f"{p.nhs_id:010d}",
        identifiers=tuple(_identifiers(p)),
        addresses=tuple(map(_address, p.addresses)),
        contacts=tuple(_contacts(p)),
        immigration=tuple(_statuses(p.immigration)),
        restricted=bool(p.restricted),
    )


def _sex(code: str | None) -> Sex:
    return {"M": Sex.MALE, "F": Sex.FEMALE}.get((code or "").upper(), Sex.UNKNOWN)


def _ethnicity(p: DmPersons) -> str | None:
    if p.full_ethnicity_code is not None and p.ethnicity is None:
        fix = "give the code its CIN_ETHNICITY_CODE in DM_ETHNICITIES (the mart's mapping), or correct the person"
        raise BadRecordError(
            "mosaic DM_PERSONS", field="FULL_ETHNICITY_CODE", rule="has no CIN code in DM_ETHNICITIES",
            shape=shape_of(p.full_ethnicity_code), fix=fix,
        )  # fmt: skip
    return p.ethnicity


def _identifiers(p: DmPersons) -> list[Identifier]:
    known = [("legacy", p.person_id_legacy), ("ssda903", p.ssda903_id)]
    known += [(each.reference_type or "other", each.reference) for each in p.references]
    return [Identifier(system=system, value=value) for system, value in known if value]


def _address(a: DmAddresses) -> Address:
    lines = [line.strip() for line in (a.address or "").split(",")]
    written = (a.post_code or "").upper().replace(" ", "")
    kept = [line for line in lines if line and line.upper() not in _NO_STREETS]
    return Address(
        lines=tuple(line for line in kept if line.upper().replace(" ", "") != written),
        postcode=a.post_code,
        uprn=None if a.unique_id is None else str(a.unique_id),
        kind=a.address_type,
        start_date=a.start_date,
        end_date=a.end_date,
    )


def _contacts(p: DmPersons) -> list[ContactPoint]:
    phones = [ContactPoint(system="phone", value=number, use=kind) for number, kind in p.telephones if number]
    return phones + ([ContactPoint(system="email", value=p.email_address)] if p.email_address else [])


def _statuses(said: tuple[PersonsAnswer, ...]) -> list[ImmigrationStatus]:
    """Each form about immigration says one status, and when it begins and ends."""
    statuses = []
    for _, form in groupby(said, key=lambda each: each.form_id):
        answered = {each.question or "": each for each in form}
        status = "UASC" if "UASC" in answered else answered["status"].text_answer if "status" in answered else None
        start, end = (_day(answered.get(name)) for name in ("start", "end"))
        if status:
            statuses.append(ImmigrationStatus(status=status, start_date=start, end_date=end))
    return statuses


def _day(answer: PersonsAnswer | None) -> date | None:
    return None if answer is None else answer.date_answer
