"""
SSDA903: the statutory return of looked-after children, as the CSV files that a case system exports for it.

See README.md in this folder for what it reads and how the files are called.
"""

from __future__ import annotations

from adapters.port import AdapterSystem, World
from adapters.ssda903.adapter import Ssda903Adapter, Ssda903Settings

__all__ = ["Ssda903Adapter", "Ssda903Settings", "system"]


def _world() -> World[Ssda903Settings]:
    from adapters.ssda903.world import WORLD  # a bridge has no use for it

    return WORLD


system = AdapterSystem(Ssda903Settings, Ssda903Adapter, __name__, _world)
