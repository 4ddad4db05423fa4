"""The page about flows in settings: its sections are flows, its test passes, and its documents are what the targets take."""

from __future__ import annotations

import importlib
import re
import runpy
import sys
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from canonical import Address, ContactPoint, Invoice, Name, Person, Supplier
from canonical.entity import Entity
from canonical.finance import SupplierKind
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.kit.requests import LocalBudget
from flows.kit.resources import Resources
from flows.port import Confirmed, Document, Flow, Nothing, Target, Write
from flows.testing import facts_of, toml_flow
from ironbridge.runtime import systems
from ironbridge.settings import Settings
from tests.test_cli import invoke

PAGE = (Path(__file__).parents[1] / "docs" / "flows-in-toml.md").read_text("utf-8")
SECTIONS = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
FLOWS: dict[str, Any] = {name: each for section in SECTIONS for name, each in section.get("flows", {}).items()}
SUPPLIER = Supplier(
    key="payables:supplier:V1", number="V1", name="Severn Gorge Joinery Ltd", end_date=date(2026, 5, 1),
    addresses=(Address(lines=("1 High Street", "Hill"), town="Telford", postcode="TF8 7DT", start_date=date(2020, 1, 1)),),
    contacts=(ContactPoint(system="email", value="office@example.org"),),
)  # fmt: skip
INVOICE = Invoice.model_validate(
    {"key": "payables:invoice:I9", "number": "I9", "supplier": SUPPLIER.key, "lines": [{"number": 1, "net": "10.00"}]}
)


def plans(sandbox: BusinessCentralSandbox) -> Mapping[str, systems.FlowPlan]:
    """The flows of the page for Business Central, and the target as the page sets it up, but for its port."""
    access = next(section["targets"]["business_central"] for section in SECTIONS if "targets" in section)
    there = {name: value.replace("http://127.0.0.1:8802", sandbox.url) for name, value in access.items()}
    flows = {name: each for name, each in FLOWS.items() if each["target"] == "business_central"}
    return systems.flows(Settings(targets={"business_central": there}, flows=flows))


@asynccontextmanager
async def company() -> AsyncIterator[tuple[BusinessCentralSandbox, Target, Mapping[str, systems.FlowPlan]]]:
    async with BusinessCentralSandbox(None) as sandbox, Resources("business_central", LocalBudget.of) as resources:
        found = plans(sandbox)
        yield sandbox, found["vendors"].target.build(resources), found


def document(flow: Flow, entity: Entity) -> Document:
    made = flow.desired(entity.key, facts_of(entity))
    assert isinstance(made, Document)
    return made


def test_the_test_that_the_page_shows_passes_beside_the_settings_that_it_shows(tmp_path: Path) -> None:
    (settings, test) = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE, re.DOTALL)[:2]
    (tmp_path / "ironbridge.toml").write_text(settings, "utf-8")
    (tmp_path / "test_people.py").write_text(test, "utf-8")
    shown = runpy.run_path(str(tmp_path / "test_people.py"))
    shown["test_a_person_is_written_until_the_person_dies"]()
    written = [len([line for line in text.splitlines() if line.strip()]) for text in (settings, test)]
    assert (written[0] <= 40, written[1] <= 15) == (True, True)


@pytest.fixture
def parks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of that name, to be imported while the test lasts."""
    invoke("new", "target", "parks", "--into", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path / "parks")
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "parks"]:
        del sys.modules[name]


@pytest.mark.usefixtures("parks")
async def test_the_flow_for_a_target_of_one_s_own_writes_to_its_sandbox(tmp_path: Path) -> None:
    package, sandboxes = importlib.import_module("parks"), importlib.import_module("parks.sandbox")
    (tmp_path / "ironbridge.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0], "utf-8")
    flow = toml_flow("people", beside=str(tmp_path / "test_people.py"))
    ada = Person(key="housing:person:7", names=(Name(given="Ada", family="Ash"),))
    async with sandboxes.ParksSandbox() as sandbox, Resources("parks", LocalBudget.of) as resources:
        given = {"base_url": sandbox.url, "token_url": f"{sandbox.url}/token", "client_id": "ironbridge"}
        settings = package.system.settings.model_validate(given | {"client_secret": "sandbox-secret"})
        target = package.system.build("parks", settings, resources)
        (outcome,) = await target.write([Write(ada.key, document(flow, ada))])
        assert isinstance(outcome, Confirmed)
        assert sandbox.documents("people") == {"7": {"given": "Ada", "family": "Ash", "gender": 9, "source": "council"}}


async def test_the_vendors_of_the_page_are_what_business_central_holds() -> None:
    async with company() as (sandbox, target, found):
        flow = found["vendors"].build()
        assert [(each.what, each.well) for each in await found["vendors"].check(target)] == [
            ("vendor: the target has all 8 fields", True)
        ]  # fmt: skip
        (outcome,) = await target.write([Write(SUPPLIER.key, document(flow, SUPPLIER))])
        assert isinstance(outcome, Confirmed)
        [vendor] = sandbox.documents("vendors").values()
        address = {"street": "1 High Street, Hill", "city": "Telford", "postalCode": "TF8 7DT"}
        shown = {"number": "V1", "displayName": SUPPLIER.name, "email": "office@example.org"}
        assert shown.items() <= vendor.items()
        assert address.items() <= vendor["address"].items()
        for more, reason in (
            ({"redacted": True}, "the extract withholds who was paid"),
            ({"kind": SupplierKind.EMPLOYEE}, "an employee is paid with the payroll"),
        ):
            other = SUPPLIER.model_copy(update=more)
            assert flow.desired(other.key, facts_of(other)) == Nothing(reason)
        ended = facts_of(SUPPLIER, today=date(2026, 5, 1))
        assert flow.desired(SUPPLIER.key, ended) == Nothing("it is no supplier any more")


async def test_the_invoices_of_the_page_refer_to_their_vendors() -> None:
    async with company() as (_, target, found):
        flow = found["register"].build()
        assert [each.well for each in await found["register"].check(target)] == [True, True]
        assert document(flow, INVOICE) == Document(
            "purchaseInvoice", "I9", {"vendorInvoiceNumber": "I9"}, refers={"vendorId": SUPPLIER.key}
        )
