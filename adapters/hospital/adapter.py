"""The adapter of a hospital: it takes messages in, keeps the register, and gives the records that they change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from adapters.hospital.patient import FIELDS, Patient, local_number, patient_row, person, sound_number
from adapters.hospital.register import Known, Register, RegisterPage
from adapters.hospital.settings import EVENTS, HospitalSettings
from adapters.hospital.stay import HospitalVisit, hospital_stay, is_cancelled, stay_after, stay_row
from adapters.kit.hl7 import Hl7Message, Hl7RefusalError, Hl7Segment, insist, text_of, updated
from adapters.kit.mllp import Mllp
from adapters.kit.soft import softening
from adapters.kit.typed import Mapped
from adapters.port import Gone, Parcel, Push, Record, Row, Softened, Stream
from canonical import HospitalStay, Person
from canonical.entity import Entity
from canonical.finding import Finding
from canonical.key import key_of

_SEGMENTS = ("EVN", "PID", "PD1", "MRG", "PV1", "PV2")
_OF_THE_PERSON = ("A28", "A31")  # what they say of a stay does not count, by HL7's own rule
_OF_THE_STAY = ("A01", "A02", "A03", "A11", "A13")  # these name a stay; A08 may name one
_REMEMBERED = 50  # messages about a patient whose repetition is known


class HospitalAdapter:
    """Reads one hospital's messages about patients and their stays: one stream, `messages`."""

    def __init__(self, name: str, settings: HospitalSettings, wait: float = 5.0) -> None:
        self.name = name
        self._settings = settings
        self._register = Register(name, settings)
        self._map = partial(entity, name, settings.time_zone)
        self.mllp = Mllp(name, settings, self._read, self._map, segments=_SEGMENTS, wait=wait)

    def streams(self) -> Sequence[Stream]:
        soft = partial(softly, self.name, self._settings.time_zone)
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
            return await Intake(self.name, self._settings, page).records(message)


class _Merge(NamedTuple):
    """A message merges the record of the number `ended` into that of the patient in `pid`."""

    pid: Hl7Segment
    ended: str


class Intake:
    """Takes one message into the register. A repetition changes nothing there, and gives the same records again."""

    def __init__(self, name: str, settings: HospitalSettings, page: RegisterPage) -> None:
        self._name = name
        self._settings = settings
        self._page = page

    async def records(self, message: Hl7Message) -> list[Record | Gone]:
        """:raises BadRecordError: a segment or field that the event needs is not there."""
        if message.event == "A40":
            merges = list(self._merges(message))
            return [record for merge in merges for record in await self._merged(message, merge)]
        segment = message.first("PID")
        if segment is None:
            raise Hl7RefusalError(self._name, "PID", "is missing", "101")
        number, known = await self._living(local_number(self._name, self._settings, segment.field(3), "PID-3"))
        repeated = message.digest in known.get("seen", [])
        if not repeated:
            known = self._patient_after(known, message, segment, message.digest)
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

    def _patient_after(self, known: Known, message: Hl7Message, pid: Hl7Segment, token: str) -> Known:
        said = pid.said(FIELDS["PID"]) | message.said("PD1", FIELDS["PD1"])
        seen = [*known.get("seen", []), token][-_REMEMBERED:]
        return known | {"said": updated(known.get("said", {}), said), "seen": seen}

    def _person(self, number: str, known: Known) -> Record:
        row = ("person", *patient_row(number, known, self._settings.nhs))
        return Record(key_of(self._name, "person", number), (), row)

    def _visit(self, message: Hl7Message) -> str:
        """The number of the stay that a message is about; empty if it is about none."""
        place = self._settings.visit
        number = "" if message.event in _OF_THE_PERSON else text_of(message.field(place))
        if not number and message.event in _OF_THE_STAY:
            raise Hl7RefusalError(self._name, place, "is empty, and so the stay has no number", "101")
        return sound_number(self._name, number, place) if number else ""

    async def _stay(self, message: Hl7Message, visit: str, patient: str, *, repeated: bool) -> Record | Gone:
        known = await self._page.stay(visit)
        if not repeated:
            known = stay_after(known, message)
            await self._page.put_stay(visit, patient, known)
        return self._stay_record(visit, patient, known)

    def _stay_record(self, visit: str, patient: str, known: Known) -> Record | Gone:
        key = key_of(self._name, "hospital-stay", visit)
        if is_cancelled(known):
            return Gone(key)
        return Record(key, (), ("stay", *stay_row(visit, patient, known, self._settings.doctor)))

    def _merges(self, message: Hl7Message) -> Iterator[_Merge]:
        """The merges of a message; each PID is followed by the MRG that ends in it."""
        pid: Hl7Segment | None = None
        for segment in message.segments:
            if segment.name == "PID":
                pid = segment
            elif segment.name == "MRG" and pid is not None:
                yield _Merge(pid, local_number(self._name, self._settings, segment.field(1), "MRG-1"))
        if message.first("MRG") is None or pid is None:
            raise Hl7RefusalError(self._name, "MRG" if pid else "PID", "is missing", "101")

    async def _merged(self, message: Hl7Message, merge: _Merge) -> list[Record | Gone]:
        """The merged patient's record ends, and all its stays become the survivor's."""
        survivor = local_number(self._name, self._settings, merge.pid.field(3), "PID-3")
        if survivor == merge.ended:
            raise Hl7RefusalError(self._name, "MRG-1", "is the number of PID-3: nobody can be merged with himself", "103")
        token = f"{message.digest} {merge.ended}"  # a message may merge several into one
        number, known = await self._living(survivor)
        if token not in known.get("seen", []):
            number = survivor  # it lives again, if it was merged itself
            known = await self._end(merge.ended, survivor)
            known = self._patient_after(known, message, merge.pid, token)
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


# -- what a record becomes ---------------------------------------------------------------------------------------------


def entity(source: str, zone: str, row: Row) -> Entity:
    """A record's row as its entity."""
    return _mapped(source, zone, row)(row[1:])


def softly(source: str, zone: str, row: Row) -> Softened | None:
    soften = softening(_mapped(source, zone, row))
    return soften(row[1:]) if soften else None


def _mapped(source: str, zone: str, row: Row) -> Mapped[Patient] | Mapped[HospitalVisit]:
    if row[0] == "person":
        return Mapped(person, Patient, source)
    return Mapped(partial(hospital_stay, zone), HospitalVisit, source)
