"""Every children's system that ships feeds the DfE's flow as it is: the records of its invented children keep the contract."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from adapters.port import Sweep
from canonical.entity import Entity
from canonical.errors import BadRecordError
from flows.dfe_csc import ChildRecords
from flows.dfe_csc.ids import Ids
from flows.port import Document, Fact, Facts
from ironbridge.runtime.systems import adapter_system

LISTS = (
    "child_and_family_assessments", "child_in_need_plans", "section_47_assessments", "child_protection_plans",
    "child_looked_after_placements", "care_worker_details",
)  # fmt: skip


async def published(kind: str, folder: Path) -> dict[str, list[Entity]]:
    """All that a small invented system becomes, by the key of whom it is about."""
    section = adapter_system(kind, {"url": "sqlite://"})[0].world
    assert section is not None
    system, settings = adapter_system(kind, section().section(folder))
    assert system.world is not None
    await system.world().make(settings, 150, 1)
    adapter, found = system.build(kind, settings), defaultdict(list)
    await adapter.open()
    for stream in adapter.streams():
        assert isinstance(stream.reading, Sweep)
        async for page in stream.reading.pages(None):
            for record in page.records:
                try:
                    entity = stream.map(record.row)
                except (BadRecordError, ValidationError):
                    continue
                found[entity.owner].append(entity)
    await adapter.close()
    return found


def drafted(kind: str, found: dict[str, list[Entity]]) -> list[Any]:
    """The flow's documents; it sends the children of one system under their own numbers."""
    flow, today, documents = ChildRecords("dfe_csc", Ids(kind)), datetime.now(UTC).date(), []
    for owner, entities in found.items():
        facts = [Fact(each.type_name, each.key, owner, 1, each.to_bytes()) for each in entities]
        desired = flow.desired(owner, Facts(facts, today))
        if isinstance(desired, Document):
            documents.append(desired.body)
    return documents


@pytest.mark.parametrize("kind", ["liquidlogic", "mosaic"])
def test_the_dfes_flow_runs_from_a_childrens_system_unchanged(kind: str, tmp_path: Path, shared: Path) -> None:
    found = asyncio.run(published(kind, tmp_path))
    children = drafted(kind, found)
    contract = json.loads((shared / "specs" / "dfe-csc" / "openapi.json").read_text())
    schema = Draft202012Validator(contract["components"]["schemas"]["CSC"], format_checker=FormatChecker())
    assert [fault.json_path for child in children for fault in schema.iter_errors([child])] == []
    assert len(children) > 75, "most of the invented children are of the cohort"
    episodes = [episode for child in children for episode in child.get("social_care_episodes", [])]
    assert [name for name in LISTS if not any(episode.get(name) for episode in episodes)] == []
    assert any(episode.get("care_leavers") for episode in episodes)
    assert any(child.get("health_and_wellbeing") for child in children)
    reasons = {each.get("start_reason") for e in episodes for each in e.get("child_looked_after_placements", [])}
    assert {"S", "P"} <= reasons
