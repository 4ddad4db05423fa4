"""
Mainframe ledger: suppliers and ledger entries in EBCDIC records, as a COBOL copybook describes them.

See README.md in this folder for the records, and how a council gives its own copybook.
"""

from __future__ import annotations

from adapters.mainframe_ledger.adapter import MainframeLedgerAdapter, MainframeLedgerSettings
from adapters.port import AdapterSystem, World

__all__ = ["MainframeLedgerAdapter", "MainframeLedgerSettings", "system"]


def _world() -> World[MainframeLedgerSettings]:
    from adapters.mainframe_ledger.world import MAINFRAME_LEDGER  # a bridge has no use for it

    return MAINFRAME_LEDGER.world()


system = AdapterSystem(MainframeLedgerSettings, MainframeLedgerAdapter, __name__, _world)
