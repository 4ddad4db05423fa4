"""
Patients as ADT messages tell of them: their numbers, and the lists of names, addresses and contacts in PID.

A system declares its own row class of a patient with the lists that it wants, `names: tuple[PatientName, ...]`, and maps it with
the functions below. The fields `number`, `nhs_number`, `contacts` and `merged` of that class are filled in here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from adapters.kit.adt_register import Known
from adapters.kit.hl7 import Hl7Message, Hl7Segment, Values, component_of, updated
from adapters.kit.hl7_rows import Hl7Rows, Together, numbers_of
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.port import Row
from canonical.errors import BadRecordError
from canonical.people import Address, ContactPoint, Identifier, Name, Sex

_FILLED = ("number", "nhs_number", "contacts", "merged")
_USES = {"PID-13": "home", "PID-14": "work"}
_LONGEST = 60  # characters of a number
_REMEMBERED = 50  # messages about a patient whose repetition is known


@row_of("ADT")
class PatientName(NamedTuple):
    family: Annotated[str | None, Spelt("PID-5.1")]
    given: Annotated[str | None, Spelt("PID-5.2")]
    title: Annotated[str | None, Spelt("PID-5.5")]


@row_of("ADT")
class PatientAddress(NamedTuple):
    street: Annotated[str | None, Spelt("PID-11.1"), Together("PID-11.1", "PID-11.1.2", "PID-11.1.3")]
    """Its number, street and house may be apart."""
    other: Annotated[str | None, Spelt("PID-11.2")]
    town: Annotated[str | None, Spelt("PID-11.3")]
    postcode: Annotated[Soft[str | None], Spelt("PID-11.5")]
    kind: Annotated[str | None, Spelt("PID-11.7")]


@row_of("ADT")
class PatientContact(NamedTuple):
    """A telephone number or an e-mail address of PID-13 or PID-14."""

    system: str
    value: Annotated[Soft[str | None], Spelt("PID-13")]
    use: str


@row_of("ADT")
class MergedNumber(NamedTuple):
    """A number that was merged into the patient's."""

    number: Annotated[str, Spelt("MRG-1")]


@dataclass(frozen=True, slots=True)
class PatientNumbers:
    """Tells a patient's own number and the NHS number among the identifiers of a field (see `adapters.kit.adt.AdtSettings`)."""

    source: str
    types: tuple[str, ...]
    authority: str | None
    nhs: tuple[str, ...]

    def local(self, values: Values, place: str) -> str:
        """
        The hospital's own number. A number alone, without a type, is it.

        :raises BadRecordError: there is none.
        """
        for kind in self.types:
            for each in values:
                if component_of(each, 5) == kind and self.authority in (None, component_of(each, 4)) and component_of(each):
                    return sound_number(self.source, component_of(each), place)
        if len(values) == 1 and component_of(values[0]) and not component_of(values[0], 5):
            return sound_number(self.source, component_of(values[0]), place)
        rule = f"holds no number of the types {', '.join(self.types)}"
        raise BadRecordError(self.source, field=place, rule=rule, shape=f"{len(values)} identifiers")

    def national(self, values: Values) -> str | None:
        """The NHS number; None if no identifier is marked as one."""
        marked = (e for e in values if component_of(e, 5) in self.nhs or component_of(e, 4) in self.nhs)
        return next(filter(None, map(component_of, marked)), None)


def sound_number(source: str, number: str, place: str) -> str:
    """:raises BadRecordError: it is empty or too long for a number, or holds what cannot be printed."""
    if not number or len(number) > _LONGEST or not number.isprintable():
        raise BadRecordError(source, field=place, rule=f"is no number of up to {_LONGEST} characters", shape="not shown")
    return number


class Patients:
    """The rows of patients, of the class that the system declares, and what the register knows of each."""

    def __init__(self, kind: type, numbers: PatientNumbers) -> None:
        self._rows, self._numbers = Hl7Rows(kind, _FILLED), numbers
        own = [f"{name}-{n}" for name, each in self._rows.fields.items() for n in each]
        self.fields = numbers_of([*own, "PID-3", *(_USES if "contacts" in kind._fields else ())])  # type: ignore[attr-defined]
        """The fields that the register keeps, by segment."""

    def row(self, number: str, known: Known) -> Row:
        said = known["said"]
        return self._rows.row(
            said,
            number=number,
            nhs_number=self._numbers.national(said.get("PID-3", [])),
            contacts=tuple(row for place, use in _USES.items() for each in said.get(place, []) if (row := _contact(each, use))),
            merged=tuple((each,) for each in known.get("merged", [])),
        )

    def after(self, known: Known, message: Hl7Message, pid: Hl7Segment, token: str) -> Known:
        """Return a patient as known after this message, whose repetition is told by the `token`."""
        others = (message.said(name, numbers) for name, numbers in self.fields.items() if name != "PID")
        said = pid.said(self.fields["PID"]) | {place: values for each in others for place, values in each.items()}
        return known | {"said": updated(known.get("said", {}), said), "seen": [*known.get("seen", []), token][-_REMEMBERED:]}


def _contact(c: list[list[str]], use: str) -> Row | None:
    if component_of(c, 3) in ("Internet", "X.400"):
        system, value = "email", component_of(c, 4) or component_of(c)
    else:
        parts = filter(None, (component_of(c, 6), component_of(c, 7)))
        system, value = "phone", component_of(c) or component_of(c, 12) or " ".join(parts)
    return (system, value, use) if value else None


# -- canonical values of a patient's row -------------------------------------------------------------------------------


def names_of(rows: Iterable[PatientName]) -> tuple[Name, ...]:
    return tuple(Name(given=n.given, family=n.family, title=n.title) for n in rows if n.given or n.family)


def addresses_of(rows: Iterable[PatientAddress]) -> tuple[Address, ...]:
    return tuple(
        Address(lines=tuple(filter(None, (a.street, a.other))), town=a.town, postcode=a.postcode, kind=a.kind)
        for a in rows
        if any(a)
    )


def contacts_of(rows: Iterable[PatientContact]) -> tuple[ContactPoint, ...]:
    return tuple(ContactPoint(system=c.system, value=c.value, use=c.use) for c in rows if c.value)


def identifiers_of(system: str, number: str, merged: Iterable[MergedNumber]) -> tuple[Identifier, ...]:
    """The patient's own number, and those that were merged into it."""
    own = Identifier(system=system, value=number)
    return (own, *(Identifier(system="merged", value=each.number) for each in merged))


def sex_of(code: str | None) -> Sex:
    """HL7's table 0001; its A, N, O and U are unknown."""
    return Sex(code) if code in ("F", "M") else Sex.UNKNOWN
