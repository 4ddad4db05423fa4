"""Patients: what the segments PID and PD1 say, and the numbers that were merged into a patient's."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from adapters.kit.adt_patients import (
    MergedNumber,
    PatientAddress,
    PatientContact,
    PatientName,
    addresses_of,
    contacts_of,
    identifiers_of,
    names_of,
    sex_of,
)
from adapters.kit.hl7 import day_of
from adapters.kit.rows import Soft, Spelt, row_of
from canonical.key import key_of
from canonical.people import Person


@row_of("ADT", key="number")
class Patient(NamedTuple):
    number: Annotated[str, Spelt("PID-3")]
    nhs_number: Annotated[Soft[str | None], Spelt("PID-3.1")]
    born: Annotated[str | None, Spelt("PID-7")]
    sex: Annotated[str | None, Spelt("PID-8")]
    died: Annotated[str | None, Spelt("PID-29")]
    protected: Annotated[str | None, Spelt("PD1-12")]
    names: tuple[PatientName, ...]
    addresses: tuple[PatientAddress, ...]
    contacts: tuple[PatientContact, ...]
    merged: tuple[MergedNumber, ...]


def person(source: str, p: Patient) -> Person:
    return Person(
        key=key_of(source, "person", p.number),
        names=names_of(p.names),
        birth_date=day_of(p.born, "PID-7"),
        death_date=day_of(p.died, "PID-29"),
        sex=sex_of(p.sex),
        nhs_number=p.nhs_number,
        identifiers=identifiers_of("hospital", p.number, p.merged),
        addresses=addresses_of(p.addresses),
        contacts=contacts_of(p.contacts),
        restricted=p.protected == "Y",
    )
