"""
A hospital's messages about admissions, transfers and discharges: HL7 v2 ADT over MLLP.

See README.md in this folder for the events that it reads and what each of them does.
"""

from __future__ import annotations

from adapters.hospital.adapter import HospitalAdapter, HospitalSettings
from adapters.port import AdapterSystem

__all__ = ["HospitalAdapter", "HospitalSettings", "system"]


system = AdapterSystem(HospitalSettings, HospitalAdapter, __name__)
