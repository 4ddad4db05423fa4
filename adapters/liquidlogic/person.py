"""People: DIM_PERSON, where they live, and what the statutory returns ask of them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, func, or_

from adapters.kit.sql import Parts, Reading
from adapters.liquidlogic.hdm import Hdm, columns_of, matchable, real
from adapters.liquidlogic.quirks import bad, day, flag, leading_code, text
from adapters.liquidlogic.settings import LiquidlogicSettings, People, UPNReason
from adapters.port import Row
from canonical.key import KeysOf, key_of
from canonical.people import Address, Identifier, ImmigrationStatus, Name, Person, Sex

_NEVER = datetime(1900, 1, 1)  # noqa: DTZ001 (the warehouse's own word for "no day", which has no zone)
_NO_POSTCODE = re.compile(r"X+|NOPOSTCODE|NONE|UNKNOWN")
_UPN_REASON = re.compile(r"UN(10|[1-9])")


class DimPerson(NamedTuple):
    dim_person_id: int
    legacy_id: Any
    forename: str | None
    surname: str | None
    birth_dttm: Any
    dob_estimated: Any
    death_dttm: Any
    gender_main_code: str | None
    ethnicity_main_code: str | None
    natnl_code: str | None
    upn: str | None
    former_upn: str | None
    ethnicity: str | None
    addresses: tuple[Row, ...]
    disabilities: tuple[Row, ...]
    immigration: tuple[Row, ...]
    no_upn_codes: tuple[Row, ...] = ()


class DimPersonAddress(NamedTuple):
    addss_type_code: str | None
    room_no: Any
    floor_no: Any
    flat_no: Any
    building: str | None
    house_no: Any
    street: str | None
    town: str | None
    postcode: str | None
    uprn: Any
    start_dttm: Any
    end_dttm: Any


class FactImmigrationStatus(NamedTuple):
    dim_lookup_immgr_status_desc: str | None
    start_dttm: Any
    end_dttm: Any


def reading(hdm: Hdm, source: str, settings: LiquidlogicSettings) -> Reading:
    people, ethnicities = hdm["DIM_PERSON"], hdm.translation("DIM_LOOKUP_DFE_ETHNIC")
    wanted = [real(people.c.DIM_PERSON_ID), _never(people.c.DUPLICATED_DTTM)]  # a merged duplicate lives on in another
    if settings.people is People.CLIENTS:
        wanted.append(people.c.IS_CLIENT.in_(("Y", "y")))
    parts = (_addresses(hdm), _disabilities(hdm), _immigration(hdm))
    return Reading(
        keys=KeysOf(source, "person"),
        source=people.outerjoin(ethnicities, ethnicities.c.code == matchable(people.c.ETHNICITY_MAIN_CODE)),
        key=(people.c.DIM_PERSON_ID,),
        columns=(*columns_of(people, DimPerson), ethnicities.c.nat),
        where=and_(*wanted),
        parts=(*parts, _no_upn_codes(hdm)) if settings.upn_reason is UPNReason.FACT_903_DATA else parts,
    )


def _addresses(hdm: Hdm) -> Parts:
    table = hdm["DIM_PERSON_ADDRESS"]
    order = (table.c.DIM_PERSON_ADDRESS_ID,)
    return Parts(table, (table.c.DIM_PERSON_ID,), columns_of(table, DimPersonAddress), order)


def _disabilities(hdm: Hdm) -> Parts:
    table, lookup = hdm["FACT_DISABILITY"], hdm.translation("DIM_LOOKUP_DISAB")
    code = table.c.DIM_LOOKUP_DISAB_CODE
    return Parts(
        source=table.outerjoin(lookup, lookup.c.code == matchable(code)),
        owner=(table.c.DIM_PERSON_ID,),
        columns=(code, lookup.c.nat),
        order=(table.c.FACT_DISABILITY_ID,),
        # The clock is the source's: a disability that ends changes the row on the day it ends.
        where=and_(code.is_not(None), or_(_never(table.c.END_DTTM), func.current_timestamp() < table.c.END_DTTM)),
    )


def _immigration(hdm: Hdm) -> Parts:
    table = hdm["FACT_IMMIGRATION_STATUS"]
    order = (table.c.FACT_IMMIGRATION_STATUS_ID,)
    return Parts(table, (table.c.DIM_PERSON_ID,), columns_of(table, FactImmigrationStatus), order)


def _no_upn_codes(hdm: Hdm) -> Parts:
    table = hdm["FACT_903_DATA"]  # one row a year's return: any order will do if it is always the same
    code = table.c.NO_UPN_CODE
    return Parts(table, (table.c.DIM_PERSON_ID,), (code,), (code,), code.is_not(None))


def _never(moment: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(moment.is_(None), moment <= _NEVER)


def person(source: str, row: Row) -> Person:
    """DIM_PERSON and what belongs to it as a person."""
    p = DimPerson(*row)
    born = day(p.birth_dttm, "DIM_PERSON.BIRTH_DTTM")
    # LCS keeps the expected date of birth of an unborn child in the same column, and flags it.
    expected = flag(p.dob_estimated, "DIM_PERSON.DOB_ESTIMATED")
    upn, reason = _upn(p)
    legacy = text(p.legacy_id)
    return Person(
        key=key_of(source, "person", int(p.dim_person_id)),
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
        addresses=tuple(_address(DimPersonAddress(*each)) for each in p.addresses),
        immigration=tuple(_status(FactImmigrationStatus(*each)) for each in p.immigration),
    )


def _upn(p: DimPerson) -> tuple[str | None, str | None]:
    written = text(p.upn)
    if written is None:
        codes = [code for (value,) in p.no_upn_codes if (code := leading_code(value, _UPN_REASON.pattern))]
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


def _disability_codes(rows: tuple[Row, ...]) -> tuple[str, ...]:
    column = "FACT_DISABILITY.DIM_LOOKUP_DISAB_CODE"
    codes = {_national(column, local, national, "DIM_LOOKUP_DISAB") for local, national in rows}
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
    unaccompanied = re.search(r"\bUASC\b|unaccompanied\W+asylum", described, re.IGNORECASE)
    return ImmigrationStatus(
        status="UASC" if unaccompanied else described,
        start_date=day(s.start_dttm, "FACT_IMMIGRATION_STATUS.START_DTTM"),
        end_date=day(s.end_dttm, "FACT_IMMIGRATION_STATUS.END_DTTM"),
    )
