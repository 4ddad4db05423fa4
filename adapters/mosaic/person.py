"""People: DM_PERSONS, where they live, and what the statutory returns ask of them."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from sqlalchemy import Numeric, String, case, exists, func, or_

from adapters.kit.children_codes import DISABILITY, upn_or_reason
from adapters.kit.form_answers import immigration_statuses
from adapters.kit.people import address_lines, contacts_of, identifiers_of, looked_up, sex_of
from adapters.kit.sql import Beside, Choice, Joined, Soft, Tables, row_of
from adapters.kit.sql_conditions import answers_to, plain
from adapters.mosaic.mart import Day, Flag, PersonsAnswer
from adapters.mosaic.settings import MosaicPeople, MosaicSettings
from canonical.key import key_of
from canonical.people import Address, Name, Person


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
    ethnicity: Annotated[str | None, Beside(DmEthnicities, "cin_ethnicity_code", by=("full_ethnicity_code",))]
    unborn: Joined[bool]
    addresses: tuple[DmAddresses, ...]
    disabilities: tuple[DmDisabilities, ...]
    telephones: tuple[DmTelephoneNumbers, ...]
    references: tuple[DmPersonReferences, ...]
    immigration: tuple[PersonsAnswer, ...] = ()


def people(mart: Tables, settings: MosaicSettings) -> Choice:
    them = mart[DmPersons]
    told = [mart[each].c.PERSON_ID for each in (DmPeriodsOfCare, FormerlyLookedAfter)]
    looked_after = [exists().where(person == them.c.PERSON_ID) for person in told]
    adults = plain(them.c.CONTEXT_FLAG) == "A"
    children = or_(them.c.CONTEXT_FLAG.is_(None), ~adults, *looked_after)
    expected = func.current_timestamp() < them.c.DATE_OF_BIRTH  # by the source's clock
    return Choice(
        where=children if settings.people is MosaicPeople.CHILDREN else None,
        joined={"unborn": case((expected, "Y"), else_="N")},
        parts={"immigration": _immigration(mart, settings)},
    )


def _immigration(mart: Tables, settings: MosaicSettings) -> Choice | None:
    asked = settings.questions
    named = {"status": asked.immigration_status, "start": asked.immigration_start, "end": asked.immigration_end}
    meant = plain(mart[PersonsAnswer].c.TEXT_ANSWER).in_([each.upper() for each in settings.uasc_answers])
    return answers_to(mart[PersonsAnswer].c.QUESTION_USER_CODE, named, {"UASC": meant})


def person(source: str, p: DmPersons) -> Person:
    """DM_PERSONS and what belongs to it as a person."""
    upn, reason = upn_or_reason(p.upn_id)
    return Person(
        key=key_of(source, "person", p.person_id),
        names=(Name(given=p.first_name, family=p.last_name, title=p.title),),
        # A day that is still to come is the day on which a child is expected.
        birth_date=None if p.unborn else p.date_of_birth,
        expected_birth_date=p.date_of_birth if p.unborn else None,
        death_date=p.date_of_death,
        sex=sex_of(p.gender),
        ethnicity=looked_up(
            "mosaic DM_PERSONS", "FULL_ETHNICITY_CODE", p.full_ethnicity_code, p.ethnicity, "has no CIN code in DM_ETHNICITIES",
            "give the code its CIN_ETHNICITY_CODE in DM_ETHNICITIES (the mart's mapping), or correct the person",
        ),
        nationality=p.nationality,
        disabilities=tuple(sorted({code for (code,) in p.disabilities if code and code != "NONE"})),
        upn=upn,
        former_upn=p.former_upn_id,
        upn_unknown_reason=reason,
        nhs_number=None if p.nhs_id is None else f"{p.nhs_id:010d}",
        identifiers=identifiers_of((("legacy", p.person_id_legacy), ("ssda903", p.ssda903_id), *p.references)),
        addresses=tuple(map(_address, p.addresses)),
        contacts=contacts_of(p.telephones, p.email_address),
        immigration=immigration_statuses(p.immigration),
        restricted=bool(p.restricted),
    )


def _address(a: DmAddresses) -> Address:
    return Address(
        lines=address_lines(a.address, a.post_code),
        postcode=a.post_code,
        uprn=None if a.unique_id is None else str(a.unique_id),
        kind=a.address_type,
        start_date=a.start_date,
        end_date=a.end_date,
    )
