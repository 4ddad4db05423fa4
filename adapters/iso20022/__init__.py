"""
ISO 20022 pain.001 messages: the credit transfers that a council tells its bank to make.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.iso20022.adapter import Iso20022Adapter, Iso20022Settings
from adapters.port import AdapterSystem, World

__all__ = ["Iso20022Adapter", "Iso20022Settings", "system"]


def _world() -> World[Iso20022Settings]:
    from adapters.iso20022.world import WORLD  # a bridge has no use for it

    return WORLD.world()


system = AdapterSystem(Iso20022Settings, Iso20022Adapter, __name__, _world)
