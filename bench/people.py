"""
A table of invented people like Liquidlogic's DIM_PERSON, 22 columns wide, and an adapter that reads it.

The adapter stands on `adapters.kit.sql` and maps as `adapters.liquidlogic` does, so that what is timed is the usual path.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import asyncpg
from pydantic import SecretStr
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url
from sqlalchemy.schema import CreateTable
from stdnum.gb import nhs, upn

from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream, Tables, row_of
from adapters.liquidlogic.hdm import Day, Flag
from canonical import Address, ContactPoint, Identifier, Name, Person, Sex
from canonical.key import key_of

TABLE = "dim_person"
_FORENAMES = ("Ada", "Bilal", "Carys", "Dylan", "Esther", "Farah", "George", "Hana", "Idris", "Jade", "Kofi", "Lowri")
_SURNAMES = ("Ahmed", "Bennett", "Clarke", "Davies", "Evans", "Fletcher", "Green", "Hughes", "Islam", "Jones", "Khan")
_STREETS = ("Mill Lane", "Station Road", "Abbey Foregate", "Wyle Cop", "Severn Way", "Castle Street", "Belle Vue Road")
_TOWNS = ("Shrewsbury", "Oswestry", "Ludlow", "Whitchurch", "Bridgnorth", "Telford", "Market Drayton")
_NOW = datetime(2026, 11, 1)  # noqa: DTZ001 (a warehouse's times have no zone)
_UNITS = "ABDEFGHJLNPQRSTUWXYZ"


@row_of(TABLE, key="dim_person_id")
class DimPerson(NamedTuple):
    dim_person_id: int
    legacy_id: str | None
    title: str | None
    forename: str | None
    surname: str | None
    birth_dttm: Day
    dob_estimated: Flag
    death_dttm: Day
    gender_main_code: str | None
    ethnicity_nat_id: str | None
    natnl_code: str | None
    upn: str | None
    former_upn: str | None
    nhs_number: str | None
    ni_number: str | None
    house_no: str | None
    street: str | None
    town: str | None
    postcode: str | None
    uprn: str | None
    telephone: str | None
    email: str | None


def rows(count: int, seed: int = 1) -> Iterator[DimPerson]:
    """Invented people: three in five are of school age; every fifth value that may be missing is."""
    random = Random(seed)  # the same table every time
    for number in range(1, count + 1):
        yield _row(number, random)


def _row(number: int, random: Random) -> DimPerson:
    child = random.random() < 0.6
    born = _NOW - timedelta(days=random.randrange(6000) if child else random.randrange(7000, 28000))
    forename, surname = random.choice(_FORENAMES), random.choice(_SURNAMES)
    seldom = random.random() < 0.02
    return DimPerson(
        number,
        f"L{number:07d}" if random.random() < 0.8 else None,
        None if child else "Ms",
        forename,
        f"{surname}   ",  # blank-padded, as such columns are
        born,
        "N",
        _NOW if seldom else None,
        random.choice("MF"),
        random.choice(("WBRI", "AIND", "BCRB", "MWAS")),
        "GB" if random.random() < 0.8 else None,
        _upn(number, random) if child and random.random() < 0.8 else None,
        _upn(number + 500_000, random) if child and seldom else None,
        _nhs_number(number),
        None if child else f"AB{number % 1_000_000:06d}C",
        str(random.randrange(1, 200)),
        random.choice(_STREETS),
        random.choice(_TOWNS),
        f"SY{random.randrange(1, 26)} {random.randrange(1, 9)}{random.choice(_UNITS)}{random.choice(_UNITS)}",
        str(10_000_000_000 + number) if random.random() < 0.8 else None,
        f"01743 {number % 1_000_000:06d}" if random.random() < 0.8 else None,
        f"{forename}.{surname}.{number}@example.org".lower() if not child else None,
    )


def _upn(number: int, random: Random) -> str:
    rest = f"893{random.randrange(1000, 9999)}{20 + number % 7:02d}{number % 1000:03d}"
    return f"{upn.calc_check_digit(rest)}{rest}"


def _nhs_number(number: int) -> str:
    first = 400_000_000 + number
    while True:
        digits = [int(each) for each in str(first)]
        check = (11 - sum((10 - n) * digit for n, digit in enumerate(digits)) % 11) % 11
        if check != 10 and nhs.is_valid(f"{first}{check}"):
            return f"{first}{check}"
        first += 100_000_000  # about one in eleven has no check digit: take one out of another hundred million


async def fill(url: str, count: int) -> None:
    """Make the table in a database given by its SQLAlchemy URL."""
    made = CreateTable(Tables().stand_in(DimPerson).tables[TABLE])
    connection = await connect(url)
    try:
        await connection.execute(str(made.compile(dialect=postgresql.dialect())))
        await connection.copy_records_to_table(TABLE, records=rows(count))
        await connection.execute(f"VACUUM (ANALYZE) {TABLE}")
    finally:
        await connection.close()


async def connect(url: str) -> Any:
    """A plain connection to a database given by its SQLAlchemy URL."""
    parsed = make_url(url)
    return await asyncpg.connect(
        host=parsed.host, port=parsed.port, user=parsed.username, database=parsed.database, timeout=30
    )


def person(source: str, p: DimPerson) -> Person:
    """A row as a person; every value is checked by its canonical type."""
    expected, born = p.dob_estimated, p.birth_dttm
    house = " ".join(each for each in (p.house_no, p.street) if each)
    return Person(
        key=key_of(source, "person", p.dim_person_id),
        names=(Name(given=p.forename, family=p.surname, title=p.title),),
        birth_date=None if expected else born,
        expected_birth_date=born if expected else None,
        death_date=p.death_dttm,
        sex=Sex(p.gender_main_code or "U"),
        ethnicity=p.ethnicity_nat_id,
        nationality=p.natnl_code,
        upn=p.upn,
        former_upn=p.former_upn,
        nhs_number=p.nhs_number,
        nino=p.ni_number,
        identifiers=(Identifier(system="legacy", value=p.legacy_id),) if p.legacy_id else (),
        addresses=(Address(lines=(house,), town=p.town, postcode=p.postcode, uprn=p.uprn),),
        contacts=tuple(_contacts(p)),
    )


def _contacts(p: DimPerson) -> Iterator[ContactPoint]:
    if p.telephone:
        yield ContactPoint(system="phone", value=p.telephone)
    if p.email:
        yield ContactPoint(system="email", value=p.email)


class PeopleAdapter(SqlAdapter):
    """The table, swept."""

    def __init__(self, url: str, page_size: int | None = None) -> None:
        sync = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        settings = SqlSettings(url=SecretStr(sync), **({"page_size": page_size} if page_size else {}))
        super().__init__("people", settings, [SqlStream("person", person)])
