"""
A hospital's messages about patients and stays, HL7 v2 ADT over MLLP, as an adapter: a system declares a row class of each, and
maps it.

    class HospitalAdapter(AdtAdapter):
        def __init__(self, name: str, settings: AdtSettings) -> None:
            super().__init__(name, settings, Mapped(person, Patient, name), Mapped(stay, Visit, name))

Each message changes what the register knows of a patient and a stay; the records that come of it are published together, in one
stream, and the message is answered then. Events that are read: see `EVENTS`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Literal, NamedTuple

from pydantic import Field, SecretStr, field_validator
from sqlalchemy import make_url

from adapters.kit.adt_patients import PatientNumbers, Patients, sound_number
from adapters.kit.adt_register import Known, Register, RegisterPage
from adapters.kit.adt_stays import Stays, is_cancelled
from adapters.kit.hl7 import Hl7Message, Hl7RefusalError, Hl7Segment, insist, text_of
from adapters.kit.mllp import Mllp, MllpSettings
from adapters.kit.row_settings import TimeZone
from adapters.kit.soft import softening
from adapters.kit.typed import Mapped
from adapters.port import Gone, Parcel, Push, Record, Row, Softened, Stream
from canonical import HospitalStay, Person
from canonical.connect.sql import SqlUrl
from canonical.entity import Entity
from canonical.finding import Finding
from canonical.key import key_of

EVENTS = ("A01", "A02", "A03", "A08", "A11", "A13", "A28", "A31", "A40")
"""Admitted, moved, discharged, corrected; admission and discharge taken back; person added, corrected; patients merged."""

_OF_THE_PERSON = ("A28", "A31")  # what they say of a stay does not count, by HL7's own rule
_OF_THE_STAY = ("A01", "A02", "A03", "A11", "A13")  # these name a stay; A08 may name one
_SEGMENTS = {"EVN", "PID", "MRG", "PV1"}  # besides the ones that the system's rows are read from


class AdtSettings(MllpSettings):
    """
    These settings say how the messages of one hospital are read, or of one trust that numbers its patients in one way.

    `url` is the database of the register (PostgreSQL or SQLite), which remembers what the messages so far said.
    `identifier_types` (PID-3.5) mark the hospital's own number of a patient, the first that is found counts; with `authority`
    only numbers of that one (PID-3.4) do. An identifier of the type or the authority in `nhs` is the NHS number. `visit` is the
    field that holds the number of a stay, `doctor` the one that holds the consultant. Events in `ignore` are accepted unread.
    """

    url: SqlUrl
    identifier_types: tuple[str, ...] = Field(default=("MR", "PI"), min_length=1)
    authority: str | None = Field(default=None, min_length=1)
    nhs: tuple[str, ...] = ("NH", "NHS")
    visit: Literal["PV1-19", "PV1-50", "PID-18"] = "PV1-19"
    doctor: Literal["PV1-7", "PV1-8", "PV1-9", "PV1-17"] = "PV1-7"
    ignore: frozenset[str] = frozenset()
    time_zone: TimeZone = "Europe/London"

    @field_validator("url")
    @classmethod
    def _kept_well(cls, value: SecretStr) -> SecretStr:
        if make_url(value.get_secret_value()).get_backend_name() not in ("postgresql", "sqlite"):
            raise ValueError("begins with postgresql:// or sqlite://")
        return value

    @field_validator("ignore")
    @classmethod
    def _others(cls, value: frozenset[str]) -> frozenset[str]:
        if read := sorted(value & set(EVENTS)):
            raise ValueError(f"{', '.join(read)} would be lost: leave out the events that are read")
        return value


class AdtAdapter:
    """
    Reads one hospital's messages about patients and their stays: one stream, `messages`.

    `patients` and `stays` map the row classes that the system declares (see `adapters.kit.adt_patients` and `adt_stays`) to
    persons and hospital stays. Their keys are `key_of(name, "person", number)` and `key_of(name, "hospital-stay", number)`.
    """

    def __init__(self, name: str, settings: AdtSettings, patients: Mapped[Any], stays: Mapped[Any], wait: float = 5.0) -> None:
        self.name = name
        self._settings = settings
        self._register = Register(name, settings.url)
        numbers = PatientNumbers(name, settings.identifier_types, settings.authority, settings.nhs)
        self.rows = AdtRows(Patients(patients.row, numbers), Stays(stays.row, settings.doctor), numbers)
        self._mapped = {"person": patients, "stay": stays}
        self._map = partial(entity, self._mapped)
        segments = _SEGMENTS.union(self.rows.patients.fields, self.rows.stays.fields)
        self.mllp = Mllp(name, settings, self._read, self._map, segments=segments, wait=wait)

    def streams(self) -> Sequence[Stream]:
        soft = partial(softly, self._mapped)
        return [Stream("messages", (Person, HospitalStay), self._map, Push(self._receive), softly=soft)]

    async def open(self) -> None:
        """Do nothing: the register is made, and the port taken, when messages are asked for, and not by a check."""

    async def close(self) -> None:
        try:
            await self.mllp.close()
        finally:
            await self._register.close()

    async def check(self) -> Sequence[Finding]:
        return [await self._register.check(), *await self.mllp.check()]

    async def _receive(self) -> AsyncIterator[Parcel]:
        await self._register.open()
        async with aclosing(self.mllp.receive()) as parcels:
            async for parcel in parcels:
                yield parcel

    async def _read(self, message: Hl7Message) -> Sequence[Record | Gone]:
        if message.event in self._settings.ignore:
            return []
        insist(self.name, message, "ADT", EVENTS)
        async with self._register.page() as page:
            return await AdtIntake(self.name, self._settings.visit, self.rows, page).records(message)


def entity(mapped: Mapping[str, Mapped[Any]], row: Row) -> Entity:
    """Map a record's row, which begins with the kind of its record."""
    return mapped[row[0]](row[1:])


def softly(mapped: Mapping[str, Mapped[Any]], row: Row) -> Softened | None:
    soften = softening(mapped[row[0]])
    return soften(row[1:]) if soften else None


class AdtRows(NamedTuple):
    """The rows of patients and of stays, and the numbers of patients."""

    patients: Patients
    stays: Stays
    numbers: PatientNumbers


class _Merge(NamedTuple):
    """A message merges the record of the number `ended` into that of the patient in `pid`."""

    pid: Hl7Segment
    ended: str


class AdtIntake:
    """Takes one message into the register. A repetition changes nothing there, and gives the same records again."""

    def __init__(self, name: str, visit: str, rows: AdtRows, page: RegisterPage) -> None:
        self._name = name
        self._visit_place = visit
        self._rows = rows
        self._page = page

    async def records(self, message: Hl7Message) -> list[Record | Gone]:
        """:raises BadRecordError: a segment or field that the event needs is not there."""
        if message.event == "A40":
            merges = list(self._merges(message))
            return [record for merge in merges for record in await self._merged(message, merge)]
        segment = message.first("PID")
        if segment is None:
            raise Hl7RefusalError(self._name, "PID", "is missing", "101")
        number, known = await self._living(self._rows.numbers.local(segment.field(3), "PID-3"))
        repeated = message.digest in known.get("seen", [])
        if not repeated:
            known = self._rows.patients.after(known, message, segment, message.digest)
            await self._page.put_patient(number, known)
        records: list[Record | Gone] = [self._person(number, known)]
        if visit := self._visit(message):
            records.append(await self._stay(message, visit, number, repeated=repeated))
        return records

    async def _living(self, number: str) -> tuple[str, Known]:
        """The number that counts for a patient, and what is known of it: where it was merged into another, the other one."""
        while into := (known := await self._page.patient(number)).get("into"):
            number = into
        return number, known

    def _person(self, number: str, known: Known) -> Record:
        return Record(key_of(self._name, "person", number), (), ("person", *self._rows.patients.row(number, known)))

    def _visit(self, message: Hl7Message) -> str:
        """The number of the stay that a message is about; empty if it is about none."""
        place = self._visit_place
        number = "" if message.event in _OF_THE_PERSON else text_of(message.field(place))
        if not number and message.event in _OF_THE_STAY:
            raise Hl7RefusalError(self._name, place, "is empty, and so the stay has no number", "101")
        return sound_number(self._name, number, place) if number else ""

    async def _stay(self, message: Hl7Message, visit: str, patient: str, *, repeated: bool) -> Record | Gone:
        known = await self._page.stay(visit)
        if not repeated:
            known = self._rows.stays.after(known, message)
            await self._page.put_stay(visit, patient, known)
        return self._stay_record(visit, patient, known)

    def _stay_record(self, visit: str, patient: str, known: Known) -> Record | Gone:
        key = key_of(self._name, "hospital-stay", visit)
        if is_cancelled(known):
            return Gone(key)
        return Record(key, (), ("stay", *self._rows.stays.row(visit, patient, known)))

    def _merges(self, message: Hl7Message) -> Iterator[_Merge]:
        """The merges of a message; each PID is followed by the MRG that ends in it."""
        pid: Hl7Segment | None = None
        for segment in message.segments:
            if segment.name == "PID":
                pid = segment
            elif segment.name == "MRG" and pid is not None:
                yield _Merge(pid, self._rows.numbers.local(segment.field(1), "MRG-1"))
        if message.first("MRG") is None or pid is None:
            raise Hl7RefusalError(self._name, "MRG" if pid else "PID", "is missing", "101")

    async def _merged(self, message: Hl7Message, merge: _Merge) -> list[Record | Gone]:
        """The merged patient's record ends, and all its stays become the survivor's."""
        survivor = self._rows.numbers.local(merge.pid.field(3), "PID-3")
        if survivor == merge.ended:
            raise Hl7RefusalError(self._name, "MRG-1", "is the number of PID-3: nobody can be merged with himself", "103")
        token = f"{message.digest} {merge.ended}"  # a message may merge several into one
        number, known = await self._living(survivor)
        if token not in known.get("seen", []):
            number = survivor  # it lives again, if it was merged itself
            known = await self._end(merge.ended, survivor)
            known = self._rows.patients.after(known, message, merge.pid, token)
            await self._page.put_patient(survivor, known)
        stays = (await self._page.stays_of(number)).items()
        moved = [self._stay_record(visit, number, stay) for visit, stay in stays]
        return [Gone(key_of(self._name, "person", merge.ended)), self._person(number, known), *moved]

    async def _end(self, ended: str, survivor: str) -> Known:
        """Move all that is known of a patient to the survivor; what is known of the survivor then, but for its own fields."""
        known, other = await self._page.patient(survivor), await self._page.patient(ended)
        for visit, stay in (await self._page.stays_of(ended)).items():
            await self._page.put_stay(visit, survivor, stay)
        await self._page.put_patient(ended, {"into": survivor})
        merged = {*known.get("merged", []), *other.get("merged", []), ended} - {survivor}
        seen = [*other.get("seen", []), *known.get("seen", [])]
        return {"said": known.get("said", {}), "merged": sorted(merged), "seen": seen}
