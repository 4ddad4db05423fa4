"""
Universal Housing (Civica), read from its SQL Server database.

See README.md in this folder for what it reads, which rights it needs and the quirks that it knows.
"""

from __future__ import annotations

from adapters.port import AdapterSystem, World
from adapters.universal_housing.adapter import UniversalHousingAdapter
from adapters.universal_housing.settings import UniversalHousingSettings

__all__ = ["UniversalHousingAdapter", "UniversalHousingSettings", "system"]


def _world() -> World[UniversalHousingSettings]:
    from adapters.universal_housing.world import WORLD  # a bridge has no use for it

    return WORLD


system = AdapterSystem(UniversalHousingSettings, UniversalHousingAdapter, __name__, _world)
