"""Stays: the segments PV1 and PV2, as the events of a stay change what is known of it."""

from __future__ import annotations

from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from adapters.hospital.register import Known
from adapters.kit.hl7 import NULL, Hl7Message, Said, Values, component_of, day_of, moment_of, text_of, updated
from adapters.kit.rows import Soft, Spelt, row_of
from adapters.port import Row
from canonical.health import HospitalStay, WardStay
from canonical.key import key_of

_FIELDS = {"PV1": (2, 4, 7, 8, 9, 10, 14, 17, 36, 37, 39, 44, 45), "PV2": (9,)}
_DISCHARGE = ("PV1-36", "PV1-37", "PV1-45")
_CANCELLED = "cancelled"


@row_of("ADT")
class VisitWard(NamedTuple):
    since: Annotated[Soft[str | None], Spelt("EVN-6")]
    ward: Annotated[str | None, Spelt("PV1-3.1")]
    room: Annotated[str | None, Spelt("PV1-3.2")]
    bed: Annotated[str | None, Spelt("PV1-3.3")]
    site: Annotated[str | None, Spelt("PV1-3.4")]


@row_of("ADT", key="number")
class HospitalVisit(NamedTuple):
    number: Annotated[str, Spelt("PV1-19")]
    patient: Annotated[str, Spelt("PID-3")]
    patient_class: Annotated[str | None, Spelt("PV1-2")]
    admission_type: Annotated[str | None, Spelt("PV1-4")]
    service: Annotated[str | None, Spelt("PV1-10")]
    admission_source: Annotated[str | None, Spelt("PV1-14")]
    hospital: Annotated[str | None, Spelt("PV1-39")]
    consultant_code: Annotated[str | None, Spelt("PV1-7.1")]
    consultant: Annotated[str | None, Spelt("PV1-7.2")]
    admitted: Annotated[str | None, Spelt("PV1-44")]
    expected: Annotated[Soft[str | None], Spelt("PV2-9")]
    discharged: Annotated[str | None, Spelt("PV1-45")]
    method: Annotated[str | None, Spelt("PV1-36")]
    destination: Annotated[str | None, Spelt("PV1-37")]
    wards: tuple[VisitWard, ...]


def is_cancelled(known: Known) -> bool:
    return _CANCELLED in known


def stay_after(known: Known, message: Hl7Message) -> Known:
    """Return the stay as it is known after this message."""
    if message.event == "A11":
        return {_CANCELLED: True}
    if is_cancelled(known):
        if message.event != "A01":
            return known  # nothing but a new admission makes a stay of it again
        known = {}
    had: Said = known.get("said", {})
    return {"said": updated(had, _said(had, message)), "wards": _wards(known.get("wards", []), message)}


def _said(had: Said, message: Hl7Message) -> dict[str, Values]:
    """Return what a message says of a stay. An admission or a discharge without a time has the event's own time."""
    said = {place: values for name, numbers in _FIELDS.items() for place, values in message.said(name, numbers).items()}
    match message.event:
        case "A13":
            return said | dict.fromkeys(_DISCHARGE, NULL)
        case "A01" if "PV1-44" not in had:
            return {"PV1-44": _happened(message)} | said
        case "A03" if "PV1-45" not in had:
            return {"PV1-45": _happened(message)} | said
    return said


def _happened(message: Hl7Message) -> Values:
    return message.field("EVN-6") or message.field("EVN-2")


def _wards(had: list[list[str]], message: Hl7Message) -> list[list[str]]:
    """The wards of a stay, each with the time from which on the patient lay there."""
    place, before = _place(message.field("PV1-3")), _place(message.field("PV1-6"))
    if not place or (had and had[-1][1:] == place):
        return had
    if message.event == "A02":
        known = had or ([["", *before]] if before else [])
        return [*known, [text_of(_happened(message)), *place]]
    if had:  # any other event corrects where the patient lies
        return [*had[:-1], [had[-1][0], *place]]
    began = message.field("PV1-44") or _happened(message) if message.event == "A01" else []
    return [[text_of(began), *place]]


def _place(values: Values) -> list[str]:
    found = [component_of(values[0], number) for number in range(1, 5)] if values else []
    return found if any(found) else []


def stay_row(number: str, patient: str, known: Known, doctor: str) -> Row:
    said: Said = known.get("said", {})
    consultant = said.get(doctor, [])
    name = " ".join(filter(None, (text_of(consultant, part) for part in (6, 3, 2))))
    told = [text_of(said.get(p, [])) for p in ("PV1-2", "PV1-4", "PV1-10", "PV1-14", "PV1-39")]
    times = [text_of(said.get(p, [])) for p in ("PV1-44", "PV2-9", "PV1-45", "PV1-36", "PV1-37")]
    wards = tuple(tuple(each) for each in known.get("wards", []))
    return (number, patient, *told, text_of(consultant), name, *times, wards)


def hospital_stay(zone: str, source: str, v: HospitalVisit) -> HospitalStay:
    local = ZoneInfo(zone)
    gone = v.discharged is not None  # a destination is often known before: it is none yet
    return HospitalStay(
        key=key_of(source, "hospital-stay", v.number),
        person=key_of(source, "person", v.patient),
        number=v.number,
        hospital=v.hospital,
        patient_class=v.patient_class,
        admission_type=v.admission_type,
        admission_source=v.admission_source,
        admission_date=day_of(v.admitted, "PV1-44"),
        admitted=moment_of(v.admitted, "PV1-44", local),
        service=v.service,
        consultant=v.consultant,
        consultant_code=v.consultant_code,
        wards=tuple(
            WardStay(start=moment_of(w.since, "EVN-6", local), ward=w.ward, room=w.room, bed=w.bed, site=w.site)
            for w in v.wards
        ),
        expected_discharge_date=day_of(v.expected, "PV2-9"),
        discharge_date=day_of(v.discharged, "PV1-45"),
        discharged=moment_of(v.discharged, "PV1-45", local),
        discharge_method=v.method if gone else None,
        discharge_destination=v.destination if gone else None,
    )
