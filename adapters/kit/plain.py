"""Reads back packed values that may come from a stranger's file: plain ones, and nothing else."""

from __future__ import annotations

import io
import pickle
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_PLAIN = {
    ("decimal", "Decimal"): Decimal, ("datetime", "date"): date, ("datetime", "datetime"): datetime,
    ("datetime", "time"): time, ("datetime", "timedelta"): timedelta,
}  # fmt: skip


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise pickle.UnpicklingError(f"{module}.{name} is no plain value")
        return _PLAIN[module, name]


def loads(packed: bytes) -> Any:
    """
    Reads a value of tuples, lists, dictionaries, texts, numbers, money, days and times.

    :raises pickle.UnpicklingError: it holds anything else.
    """
    return _Plain(io.BytesIO(packed)).load()
