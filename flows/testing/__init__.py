"""The author of a target tests it with these: the suite that every target passes, and stand-ins for Kafka and for a target."""

from flows.testing.stand_ins import EVERY, ArrayInbox, MemoryTrail, ScriptedTarget, Work, alone
from flows.testing.suite import Altered, Referring, Side, TargetSuite, Trouble

__all__ = [
    "EVERY", "Altered", "ArrayInbox", "MemoryTrail", "Referring", "ScriptedTarget", "Side", "TargetSuite", "Trouble", "Work",
    "alone",
]  # fmt: skip
