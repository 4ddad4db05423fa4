"""
School census: the pupils who left a school since the last census, as the CSV file that a data team makes of it.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.port import AdapterSystem, World
from adapters.school_census.adapter import SchoolCensusAdapter, SchoolCensusSettings

__all__ = ["SchoolCensusAdapter", "SchoolCensusSettings", "system"]


def _world() -> World[SchoolCensusSettings]:
    from adapters.school_census.world import SCHOOL_CENSUS  # a bridge has no use for it

    return SCHOOL_CENSUS.world()


system = AdapterSystem(SchoolCensusSettings, SchoolCensusAdapter, __name__, _world)
