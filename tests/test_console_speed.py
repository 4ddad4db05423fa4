"""How long the console takes, over a state of the size that it is meant for."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from canonical import Event
from flows.ledger import Arrivals, Mark
from ironbridge.bridge import Platform
from ironbridge.console.app import application
from ironbridge.console.room import Room
from ironbridge.console.shown import warm
from ironbridge.settings import Settings
from ironbridge.store import StoredLedger, open_store


def published(source: str, entity: str, number: int, owner: str | None = None) -> Event:
    key = f"{source}:{entity}:{number}"
    data = json.dumps({"key": key, "number": f"N{number}"}).encode()
    return Event(entity, source, key, owner or key, 1, datetime.now(UTC), data)


async def test_a_story_opens_in_300_ms_among_2_000_children_and_20_000_invoices(tmp_path: Path) -> None:
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/state.sqlite3")
    crowd = {"dfe_csc": ("liquidlogic", "person", 2_000), "business_central": ("ledger", "invoice", 20_000)}
    for flow, (source, entity, count) in crowd.items():
        events = [published(source, entity, n) for n in range(count)]
        marks = [Mark(e.key, 0, 5, 1, 0.0, None) for e in events]
        ledger = StoredLedger(store, flow)
        await ledger.ingest(Arrivals([(e, 0) for e in events], [], {(entity, 0): (count, events[-1].id)}), marks)
        await ledger.reopen("1")
    warm()
    room = Room(Platform(Settings(data=tmp_path), store))
    took = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(application(room)), base_url="http://127.0.0.1"
    ) as client:
        for key in ("liquidlogic:person:1042", "ledger:invoice:19999") * 3:
            began = time.perf_counter()
            answer = await client.get("/record", params={"key": key})
            took.append(time.perf_counter() - began)
            assert answer.status_code == 200
            assert "Version 1 of this" in answer.text
    await room.close()
    await store.close()
    assert min(took) < 0.3, took  # a busy machine slows some
