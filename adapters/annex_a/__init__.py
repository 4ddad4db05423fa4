"""
Annex A: the workbook of eleven lists that Ofsted asks a council for when it inspects children's services.

See README.md in this folder for what it reads, and what it leaves out.
"""

from __future__ import annotations

from adapters.annex_a.adapter import AnnexAAdapter, AnnexASettings
from adapters.port import AdapterSystem, World

__all__ = ["AnnexAAdapter", "AnnexASettings", "system"]


def _world() -> World[AnnexASettings]:
    from adapters.annex_a.world import ANNEX_A  # a bridge has no use for it

    return ANNEX_A.world()


system = AdapterSystem(AnnexASettings, AnnexAAdapter, __name__, _world)
