"""
UBL 2.1 invoices and credit notes, as EN 16931 and Peppol BIS Billing 3 describe them: e-invoices that suppliers send.

See README.md in this folder for what it reads, and how the money is checked.
"""

from __future__ import annotations

from adapters.port import AdapterSystem, World
from adapters.ubl.adapter import UblAdapter, UblSettings

__all__ = ["UblAdapter", "UblSettings", "system"]


def _world() -> World[UblSettings]:
    from adapters.ubl.world import WORLD  # a bridge has no use for it

    return WORLD.world()


system = AdapterSystem(UblSettings, UblAdapter, __name__, _world)
