"""
The CIN census: the statutory return of children in need, as the XML message that a case system makes for the DfE.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.cin_census.adapter import CinCensusAdapter, CinCensusSettings
from adapters.port import AdapterSystem, World

__all__ = ["CinCensusAdapter", "CinCensusSettings", "system"]


def _world() -> World[CinCensusSettings]:
    from adapters.cin_census.world import CIN_CENSUS  # a bridge has no use for it

    return CIN_CENSUS.world()


system = AdapterSystem(CinCensusSettings, CinCensusAdapter, __name__, _world)
