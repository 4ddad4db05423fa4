"""
Keeps the tables small and lawful: joins their files, deletes what was deleted long ago from the history, deletes old files.

Delta's log would still hold a deleted row's values as the least or greatest ones of its file. The tables' logs have those of
keys, versions and times only: see `table.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from ironbridge.settings import TablesSettings
from ironbridge.tables.table import OpenTable

log = logging.getLogger(__name__)
_FILES = 12
"""So many small files of one partition are joined."""


def keep_up(table: OpenTable, settings: TablesSettings) -> None:
    """Do one round for a table."""
    if table.plan.history:
        gone = table.deleted_before(datetime.now(UTC) - timedelta(days=settings.deleted_days))
        table.erase(gone)
    table.compact(_FILES)
    table.vacuum(settings.keep_hours)


def erase(table: OpenTable, keys: Collection[str]) -> int:
    """Delete these keys with all that they own, and the files that held them, at once; the number of rows that were deleted."""
    count = table.erase(keys, owned=True)
    table.vacuum(0)
    return count
