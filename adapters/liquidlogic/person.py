"""People: DIM_PERSON, where they live, and what the statutory returns ask of them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, extract, func, or_

from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.liquidlogic.hdm import DimLookupDfeEthnic, DimLookupDisab, matchable, never, real, translation
from adapters.liquidlogic.quirks import bad, day, flag, leading_code, text
from adapters.liquidlogic.settings import LiquidlogicSettings, People, UPNReason
from canonical.key import key_of
from canonical.people import Address, Identifier, ImmigrationStatus, Name, Person, Sex

_NO_POSTCODE = re.compile(r"X+|NOPOSTCODE|NONE|UNKNOWN")
_UPN_REASON = re.compile(r"UN(10|[1-9])")
_OVERDUE = 2  # months; see `_born`
_UASC = re.compile(r"\bUASC\b|\bunaccompanied\W+asylum", re.IGNORECASE)
_NOT_UASC = re.compile(
    # "Not UASC", "non-UASC", "no longer classed as an unaccompanied asylum seeking child"
    r"\b(?:not|non|no|never|isn'?t|wasn'?t)[\s-]+(?:(?:an?|as|be|been|being|longer|yet|currently|considered|classed|deemed|"
    r"treated|recorded|accepted|confirmed)\s+)*(?:UASC\b|unaccompanied)"
    r"|\bUASC\b\W*(?:no|n|false|not\s+applicable)\W*$",  # "UASC: No"
    re.IGNORECASE,
)


@row_of("DIM_PERSON_ADDRESS", key="dim_person_address_id", of="dim_person_id")
class DimPersonAddress(NamedTuple):
    addss_type_code: str | None
    room_no: str | None
    floor_no: str | None
    flat_no: str | None
    building: str | None
    house_no: str | None
    street: str | None
    town: str | None
    postcode: str | None
    uprn: str | None
    start_dttm: datetime | None
    end_dttm: datetime | None


@row_of("FACT_DISABILITY", key="fact_disability_id", of="dim_person_id", also={"end_dttm": datetime})
class FactDisability(NamedTuple):
    dim_lookup_disab_code: str | None
    national: Joined[str | None]


@row_of("FACT_IMMIGRATION_STATUS", key="fact_immigration_status_id", of="dim_person_id")
class FactImmigrationStatus(NamedTuple):
    dim_lookup_immgr_status_desc: str | None
    start_dttm: datetime | None
    end_dttm: datetime | None


@row_of("FACT_903_DATA", of="dim_person_id", order="no_upn_code")  # one row a year's return: any lasting order will do
class Fact903Data(NamedTuple):
    no_upn_code: str | None


@row_of("DIM_PERSON", key="dim_person_id", also={"duplicated_dttm": datetime, "is_client": str})
class DimPerson(NamedTuple):
    dim_person_id: int
    legacy_id: str | None
    forename: str | None
    surname: str | None
    birth_dttm: datetime | None
    dob_estimated: Any
    death_dttm: datetime | None
    gender_main_code: str | None
    ethnicity_main_code: str | None
    natnl_code: str | None
    upn: str | None
    former_upn: str | None
    ethnicity: Joined[str | None]
    born: Joined[str]
    addresses: tuple[DimPersonAddress, ...]
    disabilities: tuple[FactDisability, ...]
    immigration: tuple[FactImmigrationStatus, ...]
    no_upn_codes: tuple[Fact903Data, ...] = ()


def people(hdm: Tables, settings: LiquidlogicSettings) -> Choice:
    them, ethnicities = hdm[DimPerson], translation(hdm, DimLookupDfeEthnic)
    conditions = [real(them.c.DIM_PERSON_ID), never(them.c.DUPLICATED_DTTM)]  # a merged duplicate lives on in another
    if settings.people is People.CLIENTS:
        conditions.append(them.c.IS_CLIENT.in_(("Y", "y")))
    asked = settings.upn_reason is UPNReason.FACT_903_DATA
    return Choice(
        where=and_(*conditions),
        source=them.outerjoin(ethnicities, ethnicities.c.code == matchable(them.c.ETHNICITY_MAIN_CODE)),
        joined={"ethnicity": ethnicities.c.nat, "born": _born(them.c.BIRTH_DTTM)},
        parts={
            "disabilities": _disabilities(hdm),
            "no_upn_codes": Choice(hdm[Fact903Data].c.NO_UPN_CODE.is_not(None), may_lack=True) if asked else None,
        },
    )


def _born(birth: ColumnElement[Any]) -> ColumnElement[Any]:
    """
    `Y` where a day lies so far back, by the source's clock, that whoever was expected on it is born: two months or more.

    Whole months, because databases agree on nothing else about the distance of two days.
    """
    today = func.current_timestamp()
    months = 12 * (extract("year", today) - extract("year", birth)) + extract("month", today) - extract("month", birth)
    return case((months >= _OVERDUE, "Y"), else_="N")


def _disabilities(hdm: Tables) -> Choice:
    theirs, lookup = hdm[FactDisability], translation(hdm, DimLookupDisab)
    code, end = theirs.c.DIM_LOOKUP_DISAB_CODE, theirs.c.END_DTTM
    return Choice(
        # The clock is the source's: a disability that ends changes the row on the day it ends.
        where=and_(code.is_not(None), or_(never(end), func.current_timestamp() < end)),
        source=theirs.outerjoin(lookup, lookup.c.code == matchable(code)),
        joined={"national": lookup.c.nat},
    )


def person(source: str, p: DimPerson) -> Person:
    """DIM_PERSON and what belongs to it as a person."""
    born = day(p.birth_dttm, "DIM_PERSON.BIRTH_DTTM")
    # LCS keeps the expected date of birth of an unborn child in the same column, and flags it. It flags the date of a
    # child whose birthday nobody knows in the same way, so only a day that is not long past is an expected one.
    expected = flag(p.dob_estimated, "DIM_PERSON.DOB_ESTIMATED") and p.born != "Y"
    upn, reason = _upn(p)
    legacy = text(p.legacy_id)
    return Person(
        key=key_of(source, "person", p.dim_person_id),
        names=(Name(given=text(p.forename), family=text(p.surname)),),
        birth_date=None if expected else born,
        expected_birth_date=born if expected else None,
        death_date=day(p.death_dttm, "DIM_PERSON.DEATH_DTTM"),
        sex=_sex(p.gender_main_code),
        ethnicity=_national(
            "DIM_PERSON.ETHNICITY_MAIN_CODE", p.ethnicity_main_code, p.ethnicity, "DIM_LOOKUP_DFE_ETHNIC"
        ),
        nationality=text(p.natnl_code),
        disabilities=_disability_codes(p.disabilities),
        upn=upn,
        former_upn=text(p.former_upn),
        upn_unknown_reason=reason,
        identifiers=(Identifier(system="legacy", value=legacy),) if legacy else (),
        addresses=tuple(map(_address, p.addresses)),
        immigration=tuple(map(_status, p.immigration)),
    )


def _upn(p: DimPerson) -> tuple[str | None, str | None]:
    written = text(p.upn)
    if written is None:
        codes = [code for each in p.no_upn_codes if (code := leading_code(each.no_upn_code, _UPN_REASON.pattern))]
        return None, codes[-1] if codes else None
    # Where there is no UPN its column often holds the reason instead.
    return (None, written.upper()) if _UPN_REASON.fullmatch(written.upper()) else (written, None)


def _sex(code: str | None) -> Sex:
    match (text(code) or "").upper():
        case "M" | "MALE":
            return Sex.MALE
        case "F" | "FEMALE":
            return Sex.FEMALE
    return Sex.UNKNOWN  # I (indeterminate), U, nothing


def _national(column: str, local: str | None, national: str | None, lookup: str) -> str | None:
    if text(local) is None:
        return None
    code = text(national)
    if code is None:
        bad(
            column, f"has no row in {lookup}", local, f"add the code to {lookup} with its NAT_ID, or correct the person"
        )
    return code


def _disability_codes(disabilities: tuple[FactDisability, ...]) -> tuple[str, ...]:
    column = "FACT_DISABILITY.DIM_LOOKUP_DISAB_CODE"
    codes = {_national(column, d.dim_lookup_disab_code, d.national, "DIM_LOOKUP_DISAB") for d in disabilities}
    return tuple(sorted(code for code in codes if code))


def _address(a: DimPersonAddress) -> Address:
    house = " ".join(each for each in (text(a.house_no), text(a.street)) if each)
    lines = [text(a.room_no), text(a.floor_no), text(a.flat_no), text(a.building), house]
    return Address(
        lines=tuple(line for line in lines if line),
        town=text(a.town),
        postcode=postcode(a.postcode),
        uprn=text(a.uprn),
        kind=text(a.addss_type_code),
        start_date=day(a.start_dttm, "DIM_PERSON_ADDRESS.START_DTTM"),
        end_date=day(a.end_dttm, "DIM_PERSON_ADDRESS.END_DTTM"),
    )


def postcode(value: str | None) -> str | None:
    """A postcode as it stands; what people write into the box when there is none is none."""
    written = text(value)
    return None if written is None or _NO_POSTCODE.fullmatch(re.sub(r"\s", "", written).upper()) else written


def _status(s: FactImmigrationStatus) -> ImmigrationStatus:
    described = text(s.dim_lookup_immgr_status_desc) or "unknown"
    return ImmigrationStatus(
        status="UASC" if _UASC.search(described) and not _NOT_UASC.search(described) else described,
        start_date=day(s.start_dttm, "FACT_IMMIGRATION_STATUS.START_DTTM"),
        end_date=day(s.end_dttm, "FACT_IMMIGRATION_STATUS.END_DTTM"),
    )
