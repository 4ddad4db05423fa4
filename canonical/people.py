"""People, as the sector's person standards describe them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from canonical.entity import IDENTIFYING, PLAIN, SPECIAL, Entity, Part

from canonical.values import NHSNumber, NINO, UPN, UPRN, Code, Day, Postcode, Text  # isort: skip

__all__ = [
    "PEOPLE",
    "Address",
    "ContactPoint",
    "Identifier",
    "ImmigrationStatus",
    "Name",
    "Person",
    "Sex",
]


class Sex(StrEnum):
    """SSD `pers_sex`: as recognised in law; U where it is not known."""

    FEMALE = "F"
    MALE = "M"
    UNKNOWN = "U"


class Name(Part):
    """A name by which somebody is called (SSD `pers_forename` and `pers_surname`); the first one is in use."""

    given: Annotated[Text | None, IDENTIFYING] = None
    family: Annotated[Text | None, IDENTIFYING] = None
    title: Annotated[Code | None, IDENTIFYING] = None


class Address(Part):
    """SSD `ssd_address`. The current one is the one that started last and has not ended."""

    lines: Annotated[tuple[Text, ...], IDENTIFYING] = ()
    town: Annotated[Text | None, IDENTIFYING] = None
    postcode: Annotated[Postcode | None, IDENTIFYING] = None
    uprn: Annotated[UPRN | None, IDENTIFYING] = None
    kind: Annotated[Code | None, PLAIN] = None
    start_date: Annotated[Day | None, PLAIN] = None
    end_date: Annotated[Day | None, PLAIN] = None


class ContactPoint(Part):
    """FHIR `ContactPoint`: a telephone number or an address for e-mail."""

    system: Annotated[Code, PLAIN]
    value: Annotated[Text, IDENTIFYING]
    use: Annotated[Code | None, PLAIN] = None


class Identifier(Part):
    """An identifier in another system, e.g. system `legacy`, for which the entity has no field of its own."""

    system: Annotated[Code, PLAIN]
    value: Annotated[Code, IDENTIFYING]


class ImmigrationStatus(Part):
    """SSD `ssd_immigration_status`; `UASC` is an unaccompanied asylum-seeking child."""

    status: Annotated[Text, SPECIAL]
    start_date: Annotated[Day | None, SPECIAL] = None
    end_date: Annotated[Day | None, SPECIAL] = None


class Person(Entity):
    """
    Somebody whom the council knows.

    Fields and codes: Standard Safeguarding Dataset v1.4 (`ssd_person`, `ssd_disability`, `ssd_linked_identifiers`),
    SocialCareData Person standard draft 0.2 for identifiers and addresses, DfE CIN census for ethnicity (four letters),
    disability and the reason for a missing UPN (`UN1` … `UN10`).
    """

    type_name: ClassVar[str] = "person"
    standard: ClassVar[str] = "Standard Safeguarding Dataset v1.4; SocialCareData Person draft 0.2"
    known_by: ClassVar[tuple[str, ...]] = ("nhs_number", "upn", "former_upn", "nino", "identifiers[].value")

    names: Annotated[tuple[Name, ...], IDENTIFYING] = ()
    birth_date: Annotated[Day | None, IDENTIFYING] = None
    expected_birth_date: Annotated[Day | None, IDENTIFYING] = None
    death_date: Annotated[Day | None, IDENTIFYING] = None
    sex: Annotated[Sex, IDENTIFYING] = Sex.UNKNOWN
    ethnicity: Annotated[Code | None, SPECIAL] = None
    nationality: Annotated[Code | None, SPECIAL] = None
    disabilities: Annotated[tuple[Code, ...], SPECIAL] = ()
    upn: Annotated[UPN | None, IDENTIFYING] = None
    former_upn: Annotated[UPN | None, IDENTIFYING] = None
    upn_unknown_reason: Annotated[Code | None, PLAIN] = None
    nhs_number: Annotated[NHSNumber | None, IDENTIFYING] = None
    nino: Annotated[NINO | None, IDENTIFYING] = None
    identifiers: Annotated[tuple[Identifier, ...], IDENTIFYING] = ()
    addresses: Annotated[tuple[Address, ...], IDENTIFYING] = ()
    contacts: Annotated[tuple[ContactPoint, ...], IDENTIFYING] = ()
    immigration: Annotated[tuple[ImmigrationStatus, ...], SPECIAL] = ()
    restricted: Annotated[bool, PLAIN] = False
    """Most staff must not see this record (Mosaic's RESTRICTED, FHIR's meta.security `R`)."""


PEOPLE: tuple[type[Entity], ...] = (Person,)
