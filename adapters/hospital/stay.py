"""Stays: what the segments PV1 and PV2 say."""

from __future__ import annotations

from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from adapters.kit.adt_stays import VisitWard, wards_of
from adapters.kit.hl7 import day_of, moment_of
from adapters.kit.hl7_rows import Together
from adapters.kit.rows import Soft, Spelt, row_of
from canonical.health import HospitalStay
from canonical.key import key_of


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
    consultant: Annotated[str | None, Spelt("PV1-7.2"), Together("PV1-7.6", "PV1-7.3", "PV1-7.2")]
    admitted: Annotated[str | None, Spelt("PV1-44")]
    expected: Annotated[Soft[str | None], Spelt("PV2-9")]
    discharged: Annotated[str | None, Spelt("PV1-45")]
    method: Annotated[str | None, Spelt("PV1-36")]
    destination: Annotated[str | None, Spelt("PV1-37")]
    wards: tuple[VisitWard, ...]


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
        wards=wards_of(v.wards, local),
        expected_discharge_date=day_of(v.expected, "PV2-9"),
        discharge_date=day_of(v.discharged, "PV1-45"),
        discharged=moment_of(v.discharged, "PV1-45", local),
        discharge_method=v.method if gone else None,
        discharge_destination=v.destination if gone else None,
    )
