"""
Liquidlogic children's social care (System C's LCS), read from its SQL Server warehouse HDM.

See README.md in this folder for what it reads, which rights it needs and the quirks that it knows.
"""

from __future__ import annotations

from adapters.liquidlogic.adapter import LiquidlogicAdapter
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.port import AdapterSystem, World

__all__ = ["LiquidlogicAdapter", "LiquidlogicSettings", "system"]


def _world() -> World[LiquidlogicSettings]:
    from adapters.liquidlogic.world import WORLD  # a bridge has no use for it

    return WORLD.world()


system = AdapterSystem(LiquidlogicSettings, LiquidlogicAdapter, __name__, _world)
