"""
Mosaic, The Access Group's social care system: its children's data mart (tables DM_*).

See README.md in this folder for what it reads, what a council has to say in the settings, and the quirks that it knows.
"""

from __future__ import annotations

from adapters.mosaic.adapter import MosaicAdapter
from adapters.mosaic.settings import MosaicSettings
from adapters.port import AdapterSystem, World

__all__ = ["MosaicAdapter", "MosaicSettings", "system"]


def _world() -> World[MosaicSettings]:
    from adapters.mosaic.world import WORLD  # a bridge has no use for it

    return WORLD.world()


system = AdapterSystem(MosaicSettings, MosaicAdapter, __name__, _world)
