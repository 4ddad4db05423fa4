"""A document that two subjects of a flow had: the one that leaves takes it along only if the other one does not have it."""

from collections.abc import Collection

import pytest

from flows.engine.handover import handed_over
from flows.engine.ledger import Settlement, State, Task, pack
from flows.engine.settle import Wanted
from flows.port import Document, Write

THERE = Document("vendor", "7", {"name": "Severn Gorge Joinery Ltd"})


class Known:
    """The two questions that are put to the ledger."""

    def __init__(self, *held: tuple[str, str, Document], awaited: str = "") -> None:
        self._held = held
        self._awaited = awaited

    async def awaiting(self, subjects: Collection[str]) -> set[str]:
        return {self._awaited} & set(subjects)

    async def holders(self, refs: Collection[str]) -> list[tuple[str, str, bytes]]:
        return [(subject, ref, pack(document)) for subject, ref, document in self._held if ref in refs]


def of(subject: str, *, wants: Document | None, had: Document | None = None, ref: str | None = None) -> Wanted:
    task = Task(subject, 1, 1, 1, ref, None, None, None, None, None, None, "claim")
    return Wanted(task, Write(subject, wants, had, ref=ref), None, None)


async def after(known: Known, *wanted: Wanted) -> tuple[list[Settlement], list[str]]:
    settled, left = await handed_over(known, wanted)  # type: ignore[arg-type]
    return settled, [each.task.subject for each in left]


OLD = of("old", wants=None, had=THERE, ref="id7")


async def test_what_another_subject_has_is_left_to_it():
    ((settled,), left) = await after(Known(("new", "id7", THERE), ("old", "id7", THERE)), OLD)
    assert (settled.state, settled.confirmed, settled.ref, settled.sent, left) == (State.AGREED, True, None, None, [])
    assert settled.reason == "left in place: new has taken it over"


@pytest.mark.parametrize(
    "other", [("old", "id7", THERE), ("new", "id8", THERE), ("new", "id7", Document("vendor", "8", {}))]
)
async def test_one_id_of_many_documents_or_one_number_of_two_vendors_keeps_nothing_there(other: tuple[str, str, Document]):
    assert await after(Known(other), OLD) == ([], ["old"])


async def test_a_removal_waits_for_a_subject_that_is_just_coming_to_the_document():
    ((settled,), left) = await after(Known(), of("new", wants=THERE), OLD)
    assert (settled.task.subject, settled.state, settled.task.attempts, settled.after) == ("old", State.DIRTY, 0, 0.0)
    assert left == ["new"]


async def test_nothing_is_asked_where_nothing_leaves():
    assert await after(None, of("new", wants=THERE), of("other", wants=THERE, had=THERE, ref="id9")) == ([], ["new", "other"])  # type: ignore[arg-type]


async def test_what_a_parked_subject_waits_for_is_not_removed_before_that_one_has_had_its_turn():
    ((settled,), left) = await after(Known(awaited="old"), OLD)
    assert (settled.state, settled.outcome, left) == (State.DIRTY, "put back", [])
