"""Patients: the segments PID and PD1, and the numbers that were merged into a patient's."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from adapters.hospital.register import Known
from adapters.hospital.settings import HospitalSettings
from adapters.kit.hl7 import Values, component_of, day_of, text_of
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.port import Row
from canonical.errors import BadRecordError
from canonical.key import key_of
from canonical.people import Address, ContactPoint, Identifier, Name, Person, Sex

FIELDS = {"PID": (3, 5, 7, 8, 11, 13, 14, 29), "PD1": (12,)}
_LONGEST = 60  # characters of a number
_USES = {"PID-13": "home", "PID-14": "work"}


@row_of("ADT")
class PatientName(NamedTuple):
    family: Annotated[str | None, Spelt("PID-5.1")]
    given: Annotated[str | None, Spelt("PID-5.2")]
    title: Annotated[str | None, Spelt("PID-5.5")]


@row_of("ADT")
class PatientAddress(NamedTuple):
    street: Annotated[str | None, Spelt("PID-11.1")]
    other: Annotated[str | None, Spelt("PID-11.2")]
    town: Annotated[str | None, Spelt("PID-11.3")]
    postcode: Annotated[Soft[str | None], Spelt("PID-11.5")]
    kind: Annotated[str | None, Spelt("PID-11.7")]


@row_of("ADT")
class PatientContact(NamedTuple):
    system: str
    value: Annotated[Soft[str | None], Spelt("PID-13")]
    use: str


@row_of("ADT")
class MergedNumber(NamedTuple):
    number: Annotated[str, Spelt("MRG-1")]


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


def local_number(source: str, settings: HospitalSettings, values: Values, place: str) -> str:
    """
    The hospital's own number among a patient's identifiers. A number alone, without a type, is it.

    :raises BadRecordError: there is none.
    """
    for kind in settings.identifier_types:
        for each in values:
            if component_of(each, 5) == kind and settings.authority in (None, component_of(each, 4)) and component_of(each):
                return sound_number(source, component_of(each), place)
    if len(values) == 1 and component_of(values[0]) and not component_of(values[0], 5):
        return sound_number(source, component_of(values[0]), place)
    rule = f"holds no number of the types {', '.join(settings.identifier_types)}"
    raise BadRecordError(source, field=place, rule=rule, shape=f"{len(values)} identifiers")


def sound_number(source: str, number: str, place: str) -> str:
    """:raises BadRecordError: it is empty or too long for a number, or holds what cannot be printed."""
    if not number or len(number) > _LONGEST or not number.isprintable():
        raise BadRecordError(source, field=place, rule=f"is no number of up to {_LONGEST} characters", shape="not shown")
    return number


def patient_row(number: str, known: Known, nhs: tuple[str, ...]) -> Row:
    said = known["said"]
    contacts = [_contact(each, use) for place, use in _USES.items() for each in said.get(place, [])]
    return (
        number,
        next((i for each in said.get("PID-3", []) if (i := _nhs_number(each, nhs))), None),
        text_of(said.get("PID-7", [])) or None,
        text_of(said.get("PID-8", [])) or None,
        text_of(said.get("PID-29", [])) or None,
        text_of(said.get("PD1-12", [])) or None,
        tuple((component_of(n), component_of(n, 2), component_of(n, 5)) for n in said.get("PID-5", [])),
        tuple(map(_address, said.get("PID-11", []))),
        tuple(each for each in contacts if each[1]),
        tuple((each,) for each in known.get("merged", [])),
    )


def _nhs_number(identifier: list[list[str]], nhs: tuple[str, ...]) -> str:
    marked = component_of(identifier, 5) in nhs or component_of(identifier, 4) in nhs
    return component_of(identifier) if marked else ""


def _address(a: list[list[str]]) -> Row:
    street = " ".join(filter(None, (component_of(a, 1, sub) for sub in range(1, 4))))  # number, street and house may be apart
    return street, component_of(a, 2), component_of(a, 3), component_of(a, 5), component_of(a, 7)


def _contact(c: list[list[str]], use: str) -> Row:
    if component_of(c, 3) in ("Internet", "X.400"):
        return "email", component_of(c, 4) or component_of(c), use
    number = component_of(c) or component_of(c, 12) or " ".join(filter(None, (component_of(c, 6), component_of(c, 7))))
    return "phone", number, use


def person(source: str, p: Patient) -> Person:
    return Person(
        key=key_of(source, "person", p.number),
        names=tuple(Name(given=n.given, family=n.family, title=n.title) for n in p.names if n.given or n.family),
        birth_date=day_of(p.born, "PID-7"),
        death_date=day_of(p.died, "PID-29"),
        sex=Sex(p.sex) if p.sex in ("F", "M") else Sex.UNKNOWN,  # A, N, O and U of HL7's table 0001
        nhs_number=p.nhs_number,
        identifiers=(
            Identifier(system="hospital", value=p.number),
            *(Identifier(system="merged", value=each.number) for each in p.merged),
        ),
        addresses=tuple(
            Address(lines=tuple(filter(None, (a.street, a.other))), town=a.town, postcode=a.postcode, kind=a.kind)
            for a in p.addresses
            if any(a)
        ),
        contacts=tuple(ContactPoint(system=c.system, value=c.value, use=c.use) for c in p.contacts if c.value),
        restricted=p.protected == "Y",
    )
