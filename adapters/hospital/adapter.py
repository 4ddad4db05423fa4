"""The adapter of a hospital: what it publishes of patients and of stays. The kit takes the messages in and keeps the register."""

from __future__ import annotations

from functools import partial

from adapters.hospital.patient import Patient, person
from adapters.hospital.stay import HospitalVisit, hospital_stay
from adapters.kit.adt import AdtAdapter, AdtSettings
from adapters.kit.typed import Mapped


class HospitalSettings(AdtSettings):
    """The section of a hospital, or of one trust that numbers its patients in one way: `AdtSettings` says what stands in it."""


class HospitalAdapter(AdtAdapter):
    """Reads one hospital's messages about patients and their stays: one stream, `messages`."""

    def __init__(self, name: str, settings: HospitalSettings, wait: float = 5.0) -> None:
        stays = Mapped(partial(hospital_stay, settings.time_zone), HospitalVisit, name)
        super().__init__(name, settings, Mapped(person, Patient, name), stays, wait=wait)
