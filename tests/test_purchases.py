"""Suppliers, invoices and credit notes of an invented finance system reach Business Central by the flow that ships with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.testing.suite import Bench
from canonical import Event
from flows.business_central import system as business_central
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.business_central.sandbox_company import BusinessCentralSandboxSettings
from flows.engine.agree import Agreement
from flows.kit.requests import LocalBudget
from flows.kit.resources import Resources
from flows.port import Flow, Target
from flows.testing import ArrayInbox, alone
from ironbridge.operate.reconcile import compare
from ironbridge.runtime import installed
from ironbridge.runtime.systems import adapter_system
from ironbridge.store import Store, StoredLedger

KINDS = ("supplier", "invoice", "credit-note")


@pytest.fixture
async def resources() -> AsyncIterator[Resources]:
    async with Resources("the cloud", LocalBudget.of) as opened:
        yield opened


class Bridge:
    """An adapter and a flow, with all that lies between them; one round reads the system, and writes what differs."""

    def __init__(self, bench: Bench, store: Store, flow: Flow, target: Target) -> None:
        self._bench, self._store, self._flow, self._target = bench, store, flow, target
        self._ledger, self._inbox = StoredLedger(store, flow.name), ArrayInbox()
        self._agreement = Agreement(flow, target, self._ledger, edition="1")

    async def round(self) -> list[Event]:
        """Give what was published, once the cloud has it; nothing differs then."""
        events = [event for event in await self._bench.read() if event.entity in KINDS]
        self._inbox.add(*events)
        await self._agreement.ingest(self._inbox)
        for _ in range(10):
            while await self._agreement.step():
                pass
            await self._ledger.reclaim()
        found = await compare(self._store, self._flow, self._target, [], patience=0)
        assert [(each.kind, each.key, each.fields) for each in found.differences] == []
        return events


async def test_both_clients_of_business_world_are_in_business_central_and_settled_items_stay_there(
    store: Store, resources: Resources, tmp_path: Path
) -> None:
    kind = installed.adapters()["business_world"]
    assert kind.world is not None
    world = kind.world()
    system, settings = adapter_system("business_world", world.section(tmp_path))
    await world.make(settings, 60, 1)
    async with BusinessCentralSandbox(BusinessCentralSandboxSettings()) as sandbox:
        sandbox.company.seed(world.chart["accounts"], {"COSTCENTRE": {"CC100": "Adults", "CC200": "Children"}})
        flow, target = alone(
            business_central, "business_central", resources,
            {
                "base_url": f"{sandbox.url}/v2.0/tenant/production/api/v2.0", "company": sandbox.settings.company,
                "token_url": f"{sandbox.url}/tenant/oauth2/v2.0/token", "client_id": sandbox.settings.client_id,
                "client_secret": sandbox.settings.client_secret, "default_account": "9000",
                "vendor_numbers_of": "business_world", "dimensions": {"dim_1": "COSTCENTRE"},
            },
        )  # fmt: skip
        adapter = system.build("business_world", settings)
        bridge = Bridge(Bench(adapter), store, flow, target)
        first = Counter(event.entity for event in await bridge.round())
        held = sandbox.summary()["documents"]
        assert (held["vendors"], held["purchaseInvoices"], held["purchaseCreditMemos"]) == tuple(first[each] for each in KINDS)
        numbers = {str(row["number"]) for row in sandbox.company.rows("vendors", None)}
        assert {"FC:10001", "TR:10001"} <= numbers
        for day in range(2):
            await world.change(settings, day)
            assert [event.key for event in await bridge.round() if event.data is None] == []
        await adapter.close()
