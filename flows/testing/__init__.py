"""The author of a target tests it with these: the suite that every target passes, and stand-ins for Kafka and for a target."""

from flows.testing.declared import facts_of, toml_flow
from flows.testing.sandbox_side import SandboxSide
from flows.testing.stand_ins import EVERY, ArrayInbox, MemoryTrail, ScriptedTarget, Work, alone
from flows.testing.suite import AlterableSide, ReferringSide, Side, TargetSuite, Trouble

__all__ = [
    "EVERY", "AlterableSide", "ArrayInbox", "MemoryTrail", "ReferringSide", "SandboxSide", "ScriptedTarget", "Side",
    "TargetSuite", "Trouble", "Work", "alone", "facts_of", "toml_flow",
]  # fmt: skip
