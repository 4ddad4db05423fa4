"""
Unit4 Business World (Agresso), a finance system, read from its own database.

See README.md in this folder for what it reads, which rights it needs and the quirks that it knows.
"""

from __future__ import annotations

from adapters.business_world.adapter import BusinessWorldAdapter
from adapters.business_world.settings import BusinessWorldSettings
from adapters.port import AdapterSystem, World

__all__ = ["BusinessWorldAdapter", "BusinessWorldSettings", "system"]


def _world() -> World[BusinessWorldSettings]:
    from adapters.business_world.world import WORLD  # a bridge has no use for it

    return WORLD


system = AdapterSystem(BusinessWorldSettings, BusinessWorldAdapter, __name__, _world)
