"""Council tax accounts, who is liable, and the dwellings that are occupied: the tables ctaccount, ctoccupation and ctproperty."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from sqlalchemy import String, func

from adapters.academy.columns import Line32, Line35, Moment, Number, Postcode8, Uprn, address
from adapters.academy.settings import AcademySettings
from adapters.kit.sql import Choice, Joined, Soft, Tables, row_of
from canonical.key import key_of
from canonical.people import Name, Person
from canonical.revenues import CouncilTaxAccount, Occupation

PREFIX = "ct-"
"""A person of a council tax account and one of a benefit claim may have the same number."""

Dwelling = Annotated[str, String(18)]


@row_of("ctaccount", key="account_ref")
class LiablePerson(NamedTuple):
    account_ref: Number
    lead_liab_title: Annotated[str | None, String(8)]
    lead_liab_forename: Line32
    lead_liab_middlename: Line32
    lead_liab_surname: Line32


@row_of("ctproperty", key="property_ref")
class Ctproperty(NamedTuple):
    property_ref: Annotated[str, String(18)]
    addr1: Line35
    addr2: Line35
    addr3: Line32
    addr4: Line32
    postcode: Postcode8
    uprn: Uprn


@row_of(
    "ctoccupation",
    of="account_ref",
    order=("occupation_date", "property_ref", "vacation_date"),
    also={"account_ref": Number},
)
class Ctoccupation(NamedTuple):
    property_ref: Dwelling
    occupation_date: Moment
    vacation_date: Moment
    addr1: Joined[str | None]
    addr2: Joined[str | None]
    addr3: Joined[str | None]
    addr4: Joined[str | None]
    postcode: Soft[Joined[str | None]]
    uprn: Soft[Joined[str | None]]


@row_of("ctaccount", key="account_ref")
class Ctaccount(NamedTuple):
    account_ref: Number
    account_cd: Annotated[str | None, String(1)]
    for_addr1: Line32
    for_addr2: Line32
    for_addr3: Line32
    for_addr4: Line32
    for_postcode: Soft[Postcode8]
    paymeth_code: Annotated[str | None, String(5)]
    lead_liab_surname: Line32
    occupations: tuple[Ctoccupation, ...]


def liable_people(tables: Tables, _: AcademySettings) -> Choice:
    """An account whose lead is blank has nobody to tell of."""
    surname = tables[LiablePerson].c.lead_liab_surname
    # Oracle takes an empty text for NULL: nothing is unequal to it there.
    return Choice(where=func.nullif(func.rtrim(surname), "").is_not(None))


def accounts(tables: Tables, _: AcademySettings) -> Choice:
    theirs, homes = tables[Ctoccupation], tables[Ctproperty]
    joined = {name: homes.c[name] for name in ("addr1", "addr2", "addr3", "addr4", "postcode", "uprn")}
    source = theirs.outerjoin(homes, homes.c.property_ref == theirs.c.property_ref)
    return Choice(parts={"occupations": Choice(source=source, joined=joined)})


def person(source: str, p: LiablePerson) -> Person:
    given = " ".join(each for each in (p.lead_liab_forename, p.lead_liab_middlename) if each)
    return Person(
        key=key_of(source, "person", f"{PREFIX}{p.account_ref}"),
        names=(Name(given=given or None, family=p.lead_liab_surname, title=p.lead_liab_title),),
    )


def account(source: str, a: Ctaccount) -> CouncilTaxAccount:
    return CouncilTaxAccount(
        key=key_of(source, "council-tax-account", a.account_ref),
        number=f"{a.account_ref}{a.account_cd or ''}",
        liable=key_of(source, "person", f"{PREFIX}{a.account_ref}") if a.lead_liab_surname else None,
        forwarding_address=address(a.for_addr1, a.for_addr2, a.for_addr3, a.for_addr4, postcode=a.for_postcode),
        payment_method=a.paymeth_code,
        occupations=tuple(_occupation(each) for each in a.occupations),
    )


def _occupation(o: Ctoccupation) -> Occupation:
    return Occupation(
        dwelling=o.property_ref,
        address=address(o.addr1, o.addr2, o.addr3, o.addr4, postcode=o.postcode, uprn=o.uprn),
        start_date=o.occupation_date,
        end_date=o.vacation_date,
    )
