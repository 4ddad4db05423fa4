"""People: DIM_PERSON, where they live, and what the statutory returns ask of them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, case, func, or_

from adapters.kit.children_codes import UPN_REASON, upn_or_reason
from adapters.kit.people import sex_of
from adapters.kit.sql import Choice, Joined, Tables, row_of
from adapters.kit.sql_conditions import months_since, plain
from adapters.liquidlogic.hdm import Day, DimLookupDfeEthnic, DimLookupDisab, Flag, never, real, translation
from adapters.liquidlogic.quirks import bad, leading_code
from adapters.liquidlogic.settings import LiquidlogicSettings, People, UPNReason
from canonical.key import key_of
from canonical.people import Address, Identifier, ImmigrationStatus, Name, Person

_NO_POSTCODE = re.compile(r"X+|NOPOSTCODE|NONE|UNKNOWN")
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
    start_dttm: Day
    end_dttm: Day


@row_of("FACT_DISABILITY", key="fact_disability_id", of="dim_person_id", also={"end_dttm": Day})
class FactDisability(NamedTuple):
    dim_lookup_disab_code: str | None
    national: Joined[str | None]


@row_of("FACT_IMMIGRATION_STATUS", key="fact_immigration_status_id", of="dim_person_id")
class FactImmigrationStatus(NamedTuple):
    dim_lookup_immgr_status_desc: str | None
    start_dttm: Day
    end_dttm: Day


@row_of("FACT_903_DATA", of="dim_person_id", order="no_upn_code")  # one row a year's return: any lasting order will do
class Fact903Data(NamedTuple):
    no_upn_code: str | None


@row_of("DIM_PERSON", key="dim_person_id", also={"duplicated_dttm": Day, "is_client": str})
class DimPerson(NamedTuple):
    dim_person_id: int
    legacy_id: str | None
    forename: str | None
    surname: str | None
    birth_dttm: Day
    dob_estimated: Flag
    death_dttm: Day
    gender_main_code: str | None
    ethnicity_main_code: str | None
    natnl_code: str | None
    upn: str | None
    former_upn: str | None
    ethnicity: Joined[str | None]
    born: Joined[bool]
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
        source=them.outerjoin(ethnicities, ethnicities.c.code == plain(them.c.ETHNICITY_MAIN_CODE)),
        joined={"ethnicity": ethnicities.c.nat, "born": _born(them.c.BIRTH_DTTM)},
        parts={
            "disabilities": _disabilities(hdm),
            "no_upn_codes": Choice(hdm[Fact903Data].c.NO_UPN_CODE.is_not(None), may_lack=True) if asked else None,
        },
    )


def _born(birth: ColumnElement[Any]) -> ColumnElement[Any]:
    """`Y` where a day lies so far back that whoever was expected on it is born: two months or more."""
    return case((months_since(birth) >= _OVERDUE, "Y"), else_="N")


def _disabilities(hdm: Tables) -> Choice:
    theirs, lookup = hdm[FactDisability], translation(hdm, DimLookupDisab)
    code, end = theirs.c.DIM_LOOKUP_DISAB_CODE, theirs.c.END_DTTM
    return Choice(
        # The clock is the source's: a disability that ends changes the row on the day it ends.
        where=and_(code.is_not(None), or_(never(end), func.current_timestamp() < end)),
        source=theirs.outerjoin(lookup, lookup.c.code == plain(code)),
        joined={"national": lookup.c.nat},
    )


def person(source: str, p: DimPerson) -> Person:
    """DIM_PERSON and what belongs to it as a person."""
    # LCS keeps the expected date of birth of an unborn child in the same column, and flags it. It flags the date of a
    # child whose birthday nobody knows in the same way, so only a day that is not long past is an expected one.
    expected = p.dob_estimated and not p.born
    upn, reason = _upn(p)
    return Person(
        key=key_of(source, "person", p.dim_person_id),
        names=(Name(given=p.forename, family=p.surname),),
        birth_date=None if expected else p.birth_dttm,
        expected_birth_date=p.birth_dttm if expected else None,
        death_date=p.death_dttm,
        sex=sex_of(p.gender_main_code, ("M", "MALE"), ("F", "FEMALE")),
        ethnicity=_national(
            "DIM_PERSON.ETHNICITY_MAIN_CODE", p.ethnicity_main_code, p.ethnicity, "DIM_LOOKUP_DFE_ETHNIC"
        ),
        nationality=p.natnl_code,
        disabilities=_disability_codes(p.disabilities),
        upn=upn,
        former_upn=p.former_upn,
        upn_unknown_reason=reason,
        identifiers=(Identifier(system="legacy", value=p.legacy_id),) if p.legacy_id else (),
        addresses=tuple(map(_address, p.addresses)),
        immigration=tuple(map(_status, p.immigration)),
    )


def _upn(p: DimPerson) -> tuple[str | None, str | None]:
    upn, reason = upn_or_reason(p.upn)
    codes = [code for each in p.no_upn_codes if (code := leading_code(each.no_upn_code, UPN_REASON.pattern))]
    return upn, reason or (codes[-1] if codes and not upn else None)


def _national(column: str, local: str | None, national: str | None, lookup: str) -> str | None:
    if local is not None and national is None:
        bad(
            column, f"has no row in {lookup}", local, f"add the code to {lookup} with its NAT_ID, or correct the person"
        )
    return None if local is None else national


def _disability_codes(disabilities: tuple[FactDisability, ...]) -> tuple[str, ...]:
    column = "FACT_DISABILITY.DIM_LOOKUP_DISAB_CODE"
    codes = {_national(column, d.dim_lookup_disab_code, d.national, "DIM_LOOKUP_DISAB") for d in disabilities}
    return tuple(sorted(code for code in codes if code))


def _address(a: DimPersonAddress) -> Address:
    house = " ".join(each for each in (a.house_no, a.street) if each)
    lines = [a.room_no, a.floor_no, a.flat_no, a.building, house]
    return Address(
        lines=tuple(line for line in lines if line),
        town=a.town,
        postcode=postcode(a.postcode),
        uprn=a.uprn,
        kind=a.addss_type_code,
        start_date=a.start_dttm,
        end_date=a.end_dttm,
    )


def postcode(value: str | None) -> str | None:
    """A postcode as it stands; what people write into the box when there is none is none."""
    return None if value is None or _NO_POSTCODE.fullmatch(re.sub(r"\s", "", value).upper()) else value


def _status(s: FactImmigrationStatus) -> ImmigrationStatus:
    described = s.dim_lookup_immgr_status_desc or "unknown"
    return ImmigrationStatus(
        status="UASC" if _UASC.search(described) and not _NOT_UASC.search(described) else described,
        start_date=s.start_dttm,
        end_date=s.end_dttm,
    )
