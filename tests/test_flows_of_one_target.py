"""Several flows that write to one target: the settings, the one budget, and documents that belong to one flow."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from canonical import ENTITIES, Event, Name, Person, Supplier
from canonical.entity import Entity
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.business_central import BusinessCentralFlow
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.dfe_csc import ChildRecords
from flows.engine.agree import Agreement
from flows.engine.patience import Access
from flows.port import Document, Facts, Grouping, Limits, NotDone, Outcome, Target, Unavailable, Unknown, Urgency
from flows.testing import ArrayInbox, ScriptedTarget, Work
from ironbridge.kafka.process import HOST
from ironbridge.operate import insight, steer
from ironbridge.operate.audit import Actor
from ironbridge.operate.checks import findings
from ironbridge.operate.reconcile import compare
from ironbridge.runtime import bridge, installed, systems
from ironbridge.runtime.apart import KeptApart
from ironbridge.runtime.deliveries import Connections
from ironbridge.settings import KafkaSettings, Settings, StateSettings
from ironbridge.store import Store, StoredLedger, names, open_store
from ironbridge.store.budget import SharedBudget

TODAY = date(2026, 6, 15)
JO = Actor("jo", "test")
DFE = {
    "la_code": 893, "api_endpoint": "https://x", "token_url": "https://x/t", "client_id": "a", "client_secret": "b",
    "supplier_key": "c",
}  # fmt: skip
CENTRAL = {
    "base_url": "https://x", "company": "6b9c2f5e-2f55-4f0c-9d0e-1f7a3c1e5a10", "token_url": "https://x/t", "client_id": "a",
    "client_secret": "b",
}  # fmt: skip
BC = {"system": "business_central", **CENTRAL}
INSTALLED = ", ".join(sorted({*installed.found(installed.FLOWS), "refunds"}))


# -- settings ----------------------------------------------------------------------------------------------------------


def aims(**sections: Any) -> dict[str, str]:
    """By flow, the target that it writes to."""
    return {name: plan.target.name for name, plan in systems.flows(Settings(**sections)).items()}


def test_a_target_alone_runs_the_flow_that_ships_with_it_under_its_name():
    plans = systems.flows(Settings(targets={"dfe_csc": DFE, "bc": {**BC, "default_account": "8000", "within": 60}}))
    assert {name: (plan.target.name, plan.others) for name, plan in plans.items()} == {
        "dfe_csc": ("dfe_csc", ()), "bc": ("bc", ())
    }  # fmt: skip
    assert isinstance(plans["dfe_csc"].build(), ChildRecords)
    assert isinstance(plans["bc"].build(), BusinessCentralFlow)
    assert (plans["bc"].settings.default_account, plans["bc"].within) == ("8000", 60.0)
    assert plans["bc"].build().name == "bc"


def test_a_section_of_its_own_says_what_the_target_should_hold():
    plans = systems.flows(
        Settings(targets={"bc": BC}, flows={"purchases": {"target": "bc", "default_account": "8000", "within": 60}})
    )
    assert list(plans) == ["purchases"]
    assert (plans["purchases"].settings.default_account, plans["purchases"].within) == ("8000", 60.0)
    assert isinstance(plans["purchases"].build(), BusinessCentralFlow)


@pytest.mark.usefixtures("council_housing")
def test_a_flow_of_another_package_writes_to_a_target_that_ships():
    flows = {"refunds": {"target": "bc"}, "suppliers": {"target": "bc"}, "more": {"target": "bc", "system": "refunds"}}
    plans = systems.flows(Settings(targets={"bc": BC}, flows=flows))
    assert [type(plan.build()).__name__ for plan in plans.values()] == ["Refunds", "BusinessCentralFlow", "Refunds"]
    assert plans["more"].others == ("refunds", "suppliers")
    sample = tomllib.loads(plans["refunds"].system.sample)["flows"]
    assert aims(targets={"business_central": CENTRAL}, flows=sample) == dict.fromkeys(sample, "business_central")


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"bc": BC}, {"suppliers": {"default_account": "1"}},
        'flows.suppliers: names no target. To do: write target = "…", one of: bc',
    ),
    (
        {"bc": BC}, {"suppliers": {"target": "bcc"}},
        "flows.suppliers: there is no section [targets.bcc]. To do: did you mean `bc`? there are: bc",
    ),
    (
        {"bc": BC}, {"suppliers": {"target": "bc", "system": "suppliers"}},
        f"flows.suppliers: there is no system `suppliers`. To do: installed are: {INSTALLED}; name one with `system = \"…\"`",
    ),
    (
        {"dfe_csc": DFE}, {"refunds": {"target": "dfe_csc"}},
        "flows.refunds: `refunds` is a flow for `business_central`, and target `dfe_csc` is `dfe_csc`. To do: name a "
        'target of the kind `business_central`, or another flow with `system = "…"`',
    ),
    (
        {"bc": BC, "dfe_csc": DFE}, {"dfe_csc": {"target": "bc"}},
        "flows.dfe_csc: has the name of a target, and writes to another one, `bc`. To do: call the flow otherwise: where a "
        "target is alone, its own flow has its name",
    ),
    (
        {"bc": {**BC, "default_account": "1", "within": 60}}, {"suppliers": {"target": "bc"}, "more": {"target": "bc"}},
        "targets.bc: `default_account`, `within` says what a flow does, and this target has sections of flows. To do: put it "
        "into [flows.suppliers] or [flows.more]",
    ),
    (
        {"bc": {**BC, "default_acount": "1"}}, {},
        "targets.bc: `default_acount` is not a setting, did you mean `default_account`?. To do: mend it in the file, or set "
        "IRONBRIDGE_TARGETS__BC__… in the environment",
    ),
    (
        {"bc": BC}, {"suppliers": {"target": "bc", "acounts": {}}},
        "flows.suppliers: `acounts` is not a setting, did you mean `accounts`?. To do: mend it in the file, or set "
        "IRONBRIDGE_FLOWS__SUPPLIERS__… in the environment",
    ),
    (
        {"bc": BC}, {"suppliers": {"target": "bc", "within": "soon"}},
        "flows.suppliers: `within` is no number above 0. To do: for instance within = 900",
    ),
]  # fmt: skip


@pytest.mark.usefixtures("council_housing")
@pytest.mark.parametrize(("targets", "flows", "says"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_be_meant_is_refused_with_a_sentence_that_says_what_to_do(
    targets: dict[str, Any], flows: dict[str, Any], says: str
):
    with pytest.raises(MisconfiguredError) as refused:
        systems.flows(Settings(targets=targets, flows=flows))
    assert str(refused.value) == says


@pytest.mark.usefixtures("council_housing")
def test_a_run_names_flows_or_a_target_for_all_of_its_flows():
    flows = {"suppliers": {"target": "bc"}, "refunds": {"target": "bc"}}
    settings = Settings(targets={"bc": BC, "dfe_csc": DFE}, flows=flows)
    assert [*bridge.chosen(settings, ["bc"])[1]] == ["suppliers", "refunds"]
    assert [*bridge.chosen(settings, ["refunds", "dfe_csc"])[1]] == ["refunds", "dfe_csc"]
    with pytest.raises(MisconfiguredError, match="there is no bcc in the settings"):
        bridge.chosen(settings, ["bcc"])


# -- one target, one budget ------------------------------------------------------------------------------------------------


def arriving(*entities: Entity, version: int = 1) -> ArrayInbox:
    inbox, now = ArrayInbox(), datetime.now(UTC)
    inbox.add(*(Event(e.type_name, e.key.partition(":")[0], e.key, e.owner, version, now, e.to_bytes()) for e in entities))
    return inbox


async def rest(agreement: Agreement) -> None:
    while await agreement.step():
        pass


KNOWN: list[Entity] = [
    Supplier(key="payables:supplier:1", number="1", name="Severn Gorge Joinery Ltd"),
    Person(key="lcs:person:7", names=(Name(given="Abraham", family="Darby"),)),
]


def owed() -> list[Entity]:
    """A tenant to whom rent is owed, as the package of the examples publishes it."""
    garage = {"lines": ("1 High Street",), "postcode": "TF8 7DT"}
    ended = {"agreement": "T-00/9", "garage": garage, "start_date": "2020-04-06", "end_date": "2026-03-29", "credit": "5.00"}
    return [ENTITIES["garage-letting"].model_validate({"key": "lcs:garage-letting:9", "tenant": "lcs:person:7", **ended})]


@pytest.mark.usefixtures("council_housing")
async def test_two_flows_write_to_one_company_over_one_client_and_one_budget(each_store: Store):
    async with BusinessCentralSandbox(None) as sandbox, AsyncExitStack() as stack:
        sandbox.company.seed({"8000": "Supplies"}, {})
        settings = central(sandbox)
        plans = systems.flows(settings)
        kafka = KafkaSettings(broker="none", bootstrap_servers=f"{HOST}:1")
        connections = Connections(kafka, each_store, stack)
        built = {name: await connections.delivery(plan) for name, plan in plans.items()}
        assert built["suppliers"].target is built["refunds"].target
        access = Access(built["suppliers"].target.limits)
        for name, delivery in built.items():
            writes = KeptApart(delivery.target, name, each_store)
            ledger = StoredLedger(each_store, name)
            agreement = Agreement(delivery.flow, writes, ledger, edition="1", today=lambda: TODAY, access=access)
            await names.aim(each_store, name, "bc", delivery.others)
            await agreement.ingest(arriving(*KNOWN, *owed()))
            await rest(agreement)
        assert sorted(v["displayName"] for v in sandbox.documents("vendors").values()) == [
            "Abraham Darby", "Severn Gorge Joinery Ltd"
        ]  # fmt: skip
        for name, delivery in built.items():
            found = await compare(each_store, delivery.flow, delivery.target, [], patience=0, today=lambda: TODAY)
            assert (found.differences, found.parts[-1].looked, found.parts[-1].agreed) == ([], 1, 1), name
    async with each_store.read() as connection:
        assert [t for (t,) in await connection.execute(text("SELECT target FROM budgets"))] == ["bc"]
        rows = await connection.execute(text("SELECT flow, name FROM names WHERE target = 'bc' ORDER BY flow"))
        assert [tuple(row) for row in rows] == [("refunds", "vendor\x1fHT-7"), ("suppliers", "vendor\x1f1")]


def central(sandbox: BusinessCentralSandbox, **more: Any) -> Settings:
    access = {
        "system": "business_central", "base_url": f"{sandbox.url}/v2.0/tenant/production/api/v2.0",
        "company": sandbox.settings.company, "token_url": f"{sandbox.url}/tenant/oauth2/v2.0/token",
        "client_id": sandbox.settings.client_id, "client_secret": sandbox.settings.client_secret,
    }  # fmt: skip
    flows = {"suppliers": {"target": "bc", "default_account": "8000"}, "refunds": {"target": "bc"}}
    return Settings(targets={"bc": access}, flows=flows, **more)


@pytest.mark.usefixtures("council_housing")
async def test_a_check_asks_the_target_once_and_then_for_what_each_flow_names(tmp_path: Path):
    async with BusinessCentralSandbox(None) as sandbox:
        state = StateSettings.model_validate({"url": f"sqlite+aiosqlite:///{tmp_path / 'state.sqlite3'}"})
        said = [each async for each in findings(central(sandbox, data=tmp_path, state=state))]
    assert Finding("settings: 0 adapters, 1 targets, 2 flows", True) in said
    assert said[-5:] == [
        Finding("bc: the company", True),
        Finding("bc: vendors", True),
        Finding("bc: purchase invoices", True),
        Finding("bc: purchase credit memos", True),
        Finding("suppliers: account 8000", False, "make G/L account 8000, or map to one that there is"),
    ]


async def test_a_silence_is_the_targets_and_is_lifted_for_all_of_its_flows(each_store: Store):
    for flow in ("one", "two"):
        await names.aim(each_store, flow, "bc", ["one", "two"])
    await names.aim(each_store, "three", "elsewhere", [])
    await SharedBudget(each_store, "bc", Limits()).hold(timedelta(minutes=5))
    silent = {row.flow: row.seconds_silent is not None for row in await insight.standing(each_store)}
    assert silent == {"one": True, "two": True, "three": False}
    assert await steer.release(each_store, JO, "two", "they are back")
    assert [row.seconds_silent for row in await insight.standing(each_store)] == [None, None, None]
    lifted = {name: await StoredLedger(each_store, name).lifted() for name in ("one", "two", "three")}
    assert [name for name, ago in lifted.items() if ago is not None] == ["one", "two"]


async def test_flows_of_one_target_leave_it_alone_together_when_it_is_away(store: Store):
    town = Town(store, ScriptedTarget(limits=Limits(batch=10, concurrency=1)))
    one, two = await town.flow("one"), await town.flow("two", "B")
    town.target.answer("*", Unavailable("429", timedelta(minutes=5)))
    await one.ingest(arriving(KNOWN[0]))
    await rest(one)
    await two.ingest(arriving(KNOWN[0]))
    await rest(two)
    assert len(town.target.batches) == 1, "the second flow did not ask a target that had just asked for silence"


# -- one document, one flow -------------------------------------------------------------------------------------------------


class Vendors:
    """Suppliers under their numbers, with a prefix."""

    entities: tuple[type[Entity], ...] = (Supplier,)
    grouping = Grouping.KEY

    def __init__(self, name: str, prefix: str = "") -> None:
        self.name = name
        self.settings: Mapping[str, Any] = {}
        self._prefix = prefix

    def desired(self, subject: str, facts: Facts) -> Document | None:
        supplier = facts.one(Supplier)
        if supplier is None or supplier.redacted:
            return None
        return Document("vendor", self._prefix + supplier.number, {"name": supplier.name, "by": self.name})

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


@dataclass
class Town:
    """A state, and a target in memory that its flows share."""

    store: Store
    target: ScriptedTarget = field(default_factory=ScriptedTarget)

    def __post_init__(self) -> None:
        self._access = Access(self.target.limits)

    async def flow(self, name: str, prefix: str = "", others: Sequence[str] = ("one", "two")) -> Agreement:
        """A worker of a flow; without `others` it has the target for itself."""
        others = [other for other in others if other != name]
        await names.aim(self.store, name, self.target.name, others)
        target: Target = KeptApart(self.target, name, self.store) if others else self.target
        ledger = StoredLedger(self.store, name)
        return Agreement(Vendors(name, prefix), target, ledger, edition="1", today=lambda: TODAY, access=self._access)

    async def rest(self, agreement: Agreement) -> None:
        """Work until nothing is left to do, without waiting for what is to be tried again later."""
        while True:
            async with self.store.write() as connection:
                await connection.execute(text("UPDATE subjects SET due = NULL WHERE state = 'dirty'"))
            self._access.patience.end()
            if not await agreement.step():
                return

    async def reasons(self) -> dict[str, str]:
        async with self.store.read() as connection:
            found = await connection.execute(text("SELECT flow, reason FROM subjects WHERE state = 'parked'"))
            return {flow: reason for flow, reason in found}  # noqa: C416


def supplier(**more: Any) -> Supplier:
    return Supplier.model_validate({"key": "payables:supplier:1", "number": "1", "name": "Severn Gorge Joinery Ltd"} | more)


TAKEN = "vendor: flow one writes the one of this number; let one of the two leave it out, then retry"


@pytest.fixture
async def town(each_store: Store) -> Town:
    return Town(each_store)


async def test_a_document_that_is_another_flows_is_parked_and_never_sent(town: Town):
    for worker in (await town.flow("one"), await town.flow("two")):
        await worker.ingest(arriving(supplier()))
        await rest(worker)
    assert [write.document.body["by"] for batch in town.target.batches for write in batch if write.document] == ["one"]
    assert await town.reasons() == {"two": TAKEN}


async def test_a_flow_that_had_the_target_for_itself_keeps_what_it_wrote(town: Town):
    alone = await town.flow("one", others=())
    await alone.ingest(arriving(supplier()))
    await rest(alone)
    two = await town.flow("two")  # the other one has not started again yet
    await two.ingest(arriving(supplier()))
    await rest(two)
    assert await town.reasons() == {"two": TAKEN}


async def test_a_number_is_free_again_once_its_document_is_gone_or_has_another_number(town: Town):
    one, two = await town.flow("one"), await town.flow("two")
    await one.ingest(arriving(supplier()))
    await rest(one)
    await two.ingest(arriving(supplier()))
    await rest(two)
    await one.ingest(arriving(supplier(redacted=True), version=2))
    await rest(one)
    await two.ingest(arriving(supplier(name="Another name"), version=3))
    await rest(two)
    assert await town.reasons() == {}
    assert [document.body["by"] for document in town.target.documents.values()] == ["two"]


NOT_THERE = [NotDone("not sent: the budget is away"), Unknown("cut"), Unavailable("503")]


@pytest.mark.parametrize("answer", NOT_THERE, ids=["not sent", "cut", "503"])
async def test_a_number_is_free_again_if_its_document_never_came_to_be(town: Town, answer: Outcome):
    """The first flow was about to write it, was not heard, and wants it no more; the second one may have it."""
    one, two = await town.flow("one"), await town.flow("two")
    town.target.answer("payables:supplier:1", answer)
    await one.ingest(arriving(supplier()))
    await one.step()
    await one.ingest(arriving(supplier(redacted=True), version=2))
    await town.rest(one)
    await two.ingest(arriving(supplier(), version=3))
    await town.rest(two)
    assert await town.reasons() == {}
    assert [document.body["by"] for document in town.target.documents.values()] == ["two"]


async def test_a_number_is_free_again_if_the_answer_to_its_removal_was_lost(town: Town):
    one, two = await town.flow("one"), await town.flow("two")
    await one.ingest(arriving(supplier()))
    await town.rest(one)
    town.target.answer("payables:supplier:1", Unknown("cut"), work=Work.DONE)
    await one.ingest(arriving(supplier(redacted=True), version=2))
    await town.rest(one)
    assert not town.target.documents
    await two.ingest(arriving(supplier(), version=3))
    await town.rest(two)
    assert await town.reasons() == {}
    assert [document.body["by"] for document in town.target.documents.values()] == ["two"]


async def test_a_target_that_is_no_longer_shared_asks_nobody(town: Town):
    await town.flow("one")
    await town.flow("one", others=())
    async with town.store.read() as connection:
        assert [tuple(row) for row in await connection.execute(text("SELECT name, target, named FROM flows"))] == [
            ("one", "scripted", False)
        ]


async def test_a_state_from_before_flows_had_targets_knows_them_by_name(state_url: str):
    opened = await open_store(state_url)
    async with opened.write() as connection:
        await connection.execute(text("INSERT INTO flows (name) VALUES ('dfe_csc')"))
    await SharedBudget(opened, "dfe_csc", Limits()).hold(timedelta(minutes=5))
    assert [row.seconds_silent is not None for row in await insight.standing(opened)] == [True]
    assert await steer.release(opened, JO, "dfe_csc")
    await opened.close()
