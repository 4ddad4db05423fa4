"""
Bacs Standard 18 files: the credit payments and direct debits that a council tells Bacs to make.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.bacs.adapter import BacsAdapter, BacsSettings
from adapters.port import AdapterSystem, World

__all__ = ["BacsAdapter", "BacsSettings", "system"]


def _world() -> World[BacsSettings]:
    from adapters.bacs.world import WORLD  # a bridge has no use for it

    return WORLD.world()


system = AdapterSystem(BacsSettings, BacsAdapter, __name__, _world)
