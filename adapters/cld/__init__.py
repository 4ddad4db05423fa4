"""
Client Level Data: the quarterly return of adult social care, release 2, as the CSV file that a case system makes of it.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.cld.adapter import CldAdapter, CldSettings
from adapters.port import AdapterSystem, World

__all__ = ["CldAdapter", "CldSettings", "system"]


def _world() -> World[CldSettings]:
    from adapters.cld.world import CLD  # a bridge has no use for it

    return CLD.world()


system = AdapterSystem(CldSettings, CldAdapter, __name__, _world)
