"""People and the households that they live in: the tables member, househ and contacts."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from sqlalchemy import CHAR, Numeric, String

from adapters.kit.sql import CodesFromSettings, Soft, row_of
from adapters.universal_housing.columns import (
    Bit,
    HouseRef,
    Moment,
    Phone,
    Postcode,
    PropRef,
    Text3,
    reached,
    reference,
)
from canonical.housing import Household, HouseholdMember
from canonical.key import key_of
from canonical.people import Address, Name, Person, Sex

_SEXES = {"M": Sex.MALE, "F": Sex.FEMALE}


@row_of("member", key=("house_ref", "person_no"), version="tstamp")
class Member(NamedTuple):
    house_ref: Annotated[str, CHAR(10)]
    person_no: Annotated[int, Numeric(2, 0)]
    title: Annotated[str | None, CHAR(10)]
    forename: Annotated[str | None, CHAR(24)]
    surname: Annotated[str | None, CHAR(20)]
    dob: Moment  # it may not be null, so that 1900-01-01 stands for a day that nobody knows
    ni_no: Soft[Annotated[str | None, CHAR(12)]]
    gender: Annotated[str | None, CHAR(1)]
    ethnic_origin: Soft[Annotated[str | None, CHAR(3), CodesFromSettings("ethnicity")]]
    nationality: Text3


@row_of("member", of="house_ref", order="person_no", also={"house_ref": HouseRef}, version="tstamp")
class HousehMember(NamedTuple):
    person_no: Annotated[int, Numeric(2, 0)]
    relationship: Annotated[str | None, CHAR(1)]
    responsible: Bit


@row_of("contacts", key="con_key", of="con_key", to="con_key", version="tstamp")
class HousehContact(NamedTuple):
    con_phone1: Phone
    con_phone2: Phone
    con_phone3: Phone
    email_address: Annotated[str | None, CHAR(50)]


@row_of("househ", key="house_ref", also={"con_key": int}, version="tstamp")
class Househ(NamedTuple):
    house_ref: Annotated[str, CHAR(10)]
    prop_ref: PropRef
    house_desc: Annotated[str | None, CHAR(73)]
    telephone: Phone
    email_address: Annotated[str | None, String(50)]
    joint_ten: Bit
    vulnerable: Bit
    corr_preamble: Annotated[str | None, CHAR(60)]
    corr_desig: Annotated[str | None, CHAR(60)]
    corr_postcode: Soft[Postcode]
    post_preamble: Annotated[str | None, CHAR(60)]
    post_desig: Annotated[str | None, CHAR(60)]
    post_code: Postcode
    members: tuple[HousehMember, ...]
    contacts: tuple[HousehContact, ...]


def person(source: str, m: Member) -> Person:
    return Person(
        key=key_of(source, "person", m.house_ref, m.person_no),
        names=(Name(given=m.forename, family=m.surname, title=m.title),),
        birth_date=m.dob,
        sex=_SEXES.get((m.gender or "").upper(), Sex.UNKNOWN),
        ethnicity=m.ethnic_origin,
        nationality=m.nationality,
        nino=m.ni_no,
    )


def household(source: str, h: Househ) -> Household:
    contact = h.contacts[0] if h.contacts else HousehContact(None, None, None, None)
    return Household(
        key=key_of(source, "household", h.house_ref),
        number=h.house_ref,
        name=h.house_desc,
        property=reference(source, "property", h.prop_ref),
        members=tuple(_member(source, h.house_ref, each) for each in h.members),
        joint=h.joint_ten,
        vulnerable=h.vulnerable,
        contacts=reached((h.telephone, *contact[:3]), (h.email_address, contact.email_address)),
        correspondence_address=_correspondence(h),
    )


def _member(source: str, house_ref: str, m: HousehMember) -> HouseholdMember:
    person = key_of(source, "person", house_ref, m.person_no)
    return HouseholdMember(person=person, relationship=m.relationship, responsible=m.responsible)


def _correspondence(h: Househ) -> Address | None:
    """Where letters go. The columns often repeat the address of the home, or are blank: then letters go there."""
    lines = tuple(line for line in (h.corr_preamble, h.corr_desig) if line)
    home = tuple(line for line in (h.post_preamble, h.post_desig) if line), h.post_code
    written = lines, h.corr_postcode
    return Address(lines=lines, postcode=h.corr_postcode) if any(written) and written != home else None
