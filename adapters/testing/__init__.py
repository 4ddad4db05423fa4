"""The author of an adapter tests it with these: the suite that every adapter passes, and stand-ins for Kafka and the state."""

from adapters.testing.faults import Faults, Killed
from adapters.testing.sending import SendingAdapter
from adapters.testing.stand_ins import Log, MemoryJournal, MemoryMemory, MemoryState
from adapters.testing.suite import AdapterSuite, Bench, assert_versions_grow, whole
from adapters.testing.table import Line, TableAdapter

__all__ = [
    "AdapterSuite",
    "Bench",
    "Faults",
    "Killed",
    "Line",
    "Log",
    "MemoryJournal",
    "MemoryMemory",
    "MemoryState",
    "SendingAdapter",
    "TableAdapter",
    "assert_versions_grow",
    "whole",
]
