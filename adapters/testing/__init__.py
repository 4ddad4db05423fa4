"""What the author of an adapter tests it with: the suite that every adapter passes, and stand-ins for Kafka and the state."""

from adapters.testing.stand_ins import Faults, Killed, Line, Log, MemoryJournal, MemoryMemory, State, TableAdapter
from adapters.testing.suite import AdapterSuite, Bench, assert_versions_grow, whole

__all__ = [
    "AdapterSuite",
    "Bench",
    "Faults",
    "Killed",
    "Line",
    "Log",
    "MemoryJournal",
    "MemoryMemory",
    "State",
    "TableAdapter",
    "assert_versions_grow",
    "whole",
]
