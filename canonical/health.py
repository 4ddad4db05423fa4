"""
Health: what a hospital tells the council of the people who lie in it.

That somebody is in hospital, where and under whom, is special category data by its nature: all but the keys and the hospital's
own number of the stay is classified so.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from canonical.entity import PLAIN, SPECIAL, Entity, Part
from canonical.key import Key
from canonical.values import Code, Day, Instant, Text

__all__ = [
    "HEALTH",
    "HospitalStay",
    "WardStay",
]


class WardStay(Part):
    """A patient lies on a ward (NHS Data Dictionary `WARD STAY`; HL7 v2 PV1-3). It ends when the next one begins."""

    start: Annotated[Instant | None, SPECIAL] = None
    """The moment from which on the patient lies there; None where no message told it."""
    ward: Annotated[Text | None, SPECIAL] = None
    room: Annotated[Text | None, SPECIAL] = None
    bed: Annotated[Text | None, SPECIAL] = None
    site: Annotated[Text | None, SPECIAL] = None
    """The facility that the ward belongs to."""


class HospitalStay(Entity):
    """
    A stay in hospital, from the admission to the discharge (NHS Data Dictionary `HOSPITAL PROVIDER SPELL`).

    Each field names the field of HL7 v2 that tells it. Codes are the hospital's own. The days are those that the hospital
    writes, by its local time; a moment is there where the hospital gives a time of day.
    """

    type_name: ClassVar[str] = "hospital-stay"
    standard: ClassVar[str] = "HL7 v2 chapter 3 (PV1, PV2); NHS Data Dictionary HOSPITAL PROVIDER SPELL"
    owned_by: ClassVar[str] = "person"
    known_by: ClassVar[tuple[str, ...]] = ("number",)

    person: Annotated[Key, PLAIN]
    number: Annotated[Code, PLAIN]
    """PV1-19: the hospital's own number of the stay (`HOSPITAL PROVIDER SPELL NUMBER`)."""
    hospital: Annotated[Text | None, SPECIAL] = None
    """PV1-39."""
    patient_class: Annotated[Code | None, SPECIAL] = None
    """PV1-2, HL7 table 0004: I is an inpatient, E an emergency."""
    admission_type: Annotated[Code | None, SPECIAL] = None
    """PV1-4."""
    admission_source: Annotated[Text | None, SPECIAL] = None
    """PV1-14: the place from which the patient came."""
    admission_date: Annotated[Day | None, SPECIAL] = None
    """PV1-44 (`START DATE (HOSPITAL PROVIDER SPELL)`)."""
    admitted: Annotated[Instant | None, SPECIAL] = None
    service: Annotated[Text | None, SPECIAL] = None
    """PV1-10: the specialty that treats the patient."""
    consultant: Annotated[Text | None, SPECIAL] = None
    """The doctor's name."""
    consultant_code: Annotated[Code | None, SPECIAL] = None
    wards: Annotated[tuple[WardStay, ...], SPECIAL] = ()
    """The wards in the order in which the patient lay there, as far as messages told; the last one is the present one."""
    expected_discharge_date: Annotated[Day | None, SPECIAL] = None
    """PV2-9."""
    discharge_date: Annotated[Day | None, SPECIAL] = None
    """PV1-45 (`DISCHARGE DATE (HOSPITAL PROVIDER SPELL)`)."""
    discharged: Annotated[Instant | None, SPECIAL] = None
    discharge_method: Annotated[Text | None, SPECIAL] = None
    """PV1-36."""
    discharge_destination: Annotated[Text | None, SPECIAL] = None
    """PV1-37."""


HEALTH: tuple[type[Entity], ...] = (HospitalStay,)
