"""The order in which pytest-xdist's workers get the tests, so that two processors are busy and never crowded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

WORLD = "tests/console"
TORTURE = "tests/test_torture.py"


class ByWorld(LoadFileScheduling):
    """
    Gives a worker a file at a time, and the console's folder as a whole: its tests share a world that takes long to make.

    The torture keeps more than one processor busy. While it runs the last worker gets nothing.
    """

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return WORLD if file.startswith(f"{WORLD}/") else file

    def _reschedule(self, node: WorkerController) -> None:
        if not self._waits(node):
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._waits(node):
            super()._assign_work_unit(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        if self.registered_collections[node][item_index].startswith(TORTURE):
            self._reschedule(self.nodes[-1])

    def _waits(self, node: WorkerController) -> bool:
        return len(self.nodes) > 2 and node is self.nodes[-1] and not all(self._tortured())

    def _tortured(self) -> Iterator[bool]:
        """For each test of the torture that a worker has: is it done?"""
        given: dict[Any, dict[str, dict[str, bool]]] = self.assigned_work
        for files in given.values():
            yield from files.get(TORTURE, {}).values()
