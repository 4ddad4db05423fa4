"""The author of a target tests it with these: the suite that every target passes, and stand-ins for Kafka and for a target."""

from flows.testing.suite import EVERY, ArrayInbox, MemoryTrail, ScriptedTarget, Side, TargetSuite, Trouble, Work, alone

__all__ = ["EVERY", "ArrayInbox", "MemoryTrail", "ScriptedTarget", "Side", "TargetSuite", "Trouble", "Work", "alone"]
