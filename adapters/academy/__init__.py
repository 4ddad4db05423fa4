"""
Academy revenues and benefits (Capita, now NEC), read from its database or a copy of it.

See README.md in this folder for what it reads, which rights it needs and the quirks that it knows.
"""

from __future__ import annotations

from adapters.academy.adapter import AcademyAdapter
from adapters.academy.settings import AcademySettings
from adapters.port import AdapterSystem, World

__all__ = ["AcademyAdapter", "AcademySettings", "system"]


def _world() -> World[AcademySettings]:
    from adapters.academy.world import WORLD  # a bridge has no use for it

    return WORLD


system = AdapterSystem(AcademySettings, AcademyAdapter, __name__, _world)
