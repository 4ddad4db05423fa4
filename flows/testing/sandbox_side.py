"""The side of a target whose sandbox speaks HTTP."""

from __future__ import annotations

from dataclasses import dataclass

from flows.kit.sandbox import Sandbox
from flows.kit.sandbox_faults import Fault
from flows.port import Target
from flows.testing.suite import Trouble

_FAULTS = {
    Trouble.THROTTLED: Fault(kind="status", status=429, retry_after=7),
    Trouble.FAILED: Fault(kind="status", status=500),
    Trouble.LOST: Fault(kind="cut", when="after"),
    Trouble.NOT_JSON: Fault(kind="garbage", when="after"),
}


@dataclass
class SandboxSide:
    """
    A side that counts the sandbox's effects and makes it misbehave. A subclass gives the documents, and looks them up.

    A request that writes has `path` in its address; `looks` such requests only look, before one writes.
    """

    target: Target
    sandbox: Sandbox
    path: str
    looks: int = 0

    def effects(self) -> int:
        return len(self.sandbox.log())

    def trouble(self, trouble: Trouble) -> None:
        spared = Fault(kind="slow", seconds=0, path=self.path)
        self.sandbox.faults.extend([spared] * (self.looks if trouble is not Trouble.THROTTLED else 0))
        self.sandbox.faults.append(_FAULTS[trouble].model_copy(update={"path": self.path}))
