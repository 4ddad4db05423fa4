"""The author of this package runs the suites that Ironbridge ships, and a test of each flow."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, text

from adapters.engine.journal import INCOMPLETE
from adapters.kit.sql import SqlSettings, Tables
from adapters.port import Adapter
from adapters.testing import AdapterSuite, Bench
from canonical import Address, Entity, Name, Person
from council_housing import lettings, refunds, repairs
from council_housing.entities import GarageLetting
from flows.business_central import BusinessCentralSettings
from flows.kit.folder import Disk
from flows.kit.requests import LocalBudget
from flows.kit.resources import Resources
from flows.port import Body, Document, Fact, Facts, Nothing
from flows.testing import TargetSuite, Trouble

# -- the adapter -------------------------------------------------------------------------------------------------------


class TestLettings(AdapterSuite):
    @pytest.fixture
    async def adapter(self, tmp_path: Path) -> AsyncIterator[Adapter]:
        self._url = f"sqlite:///{tmp_path / 'housing.sqlite3'}"
        engine = create_engine(self._url)
        Tables().stand_in(lettings.Tenant, lettings.Letting).create_all(engine)
        engine.dispose()
        for number, forename, surname in ((1, "Abraham", "Darby"), (2, "Hannah", "Rose"), (3, "Thomas", "Telford")):
            self._do("INSERT INTO TENANTS VALUES (:n, :f, :s, '1957-01-02', NULL)", n=number, f=forename, s=surname)
            letting = "INSERT INTO LETTINGS VALUES (:n, :n, :a, '1 High Street, Coalbrookdale', 'tf87dt', '2020-04-06', NULL, 0)"
            self._do(letting, n=number, a=f"T-00/{number}")
        adapter = lettings.system.build("housing", SqlSettings.model_validate({"url": self._url}))
        yield adapter
        await adapter.close()

    async def change_one(self, adapter: Adapter) -> str:
        self._do("UPDATE LETTINGS SET ended = '2026-03-31', balance = -120.5 WHERE letting_no = 1")
        return f"{adapter.name}:garage-letting:1"

    async def delete_one(self, adapter: Adapter) -> str:
        self._do("DELETE FROM LETTINGS WHERE letting_no = 2")
        return f"{adapter.name}:garage-letting:2"

    async def break_one(self, adapter: Adapter) -> str:
        self._do("UPDATE TENANTS SET born = 'none' WHERE tenant_no = 3")
        return f"{adapter.name}:person:3"

    async def mend_it(self, adapter: Adapter) -> None:
        self._do("UPDATE TENANTS SET born = '1957-01-03' WHERE tenant_no = 3")

    async def counted(self, _: Adapter) -> dict[str, int]:
        return {"tenants": 3, "lettings": 3}

    async def test_a_tenant_whose_national_insurance_number_is_wrong_goes_without_it(self, adapter: Adapter) -> None:
        bench = Bench(adapter)
        self._do("UPDATE TENANTS SET nino = 'none' WHERE tenant_no = 3")
        assert f"{adapter.name}:person:3" in [event.key for event in await bench.read()]
        assert list(bench.problems()) == [f"{adapter.name}:person:3{INCOMPLETE}"]

    def _do(self, statement: str, **values: Any) -> None:
        engine = create_engine(self._url)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()


# -- the target --------------------------------------------------------------------------------------------------------


class Share(Disk):
    """The contractor's share. It counts what changes there, and fails once where it is told to."""

    def __init__(self) -> None:
        self.effects = 0
        self.trouble: Trouble | None = None

    def write(self, path: Path, content: bytes) -> None:
        if self.trouble in (Trouble.THROTTLED, Trouble.FAILED):
            number = 28 if self.trouble is Trouble.THROTTLED else 5  # no space left, and an input or output error
            self.trouble = None
            raise OSError(number, os.strerror(number))
        super().write(path, content)

    def move(self, path: Path, to: Path) -> None:
        super().move(path, to)
        self.effects += 1
        if self.trouble:
            self.trouble = None
            raise OSError(5, "Input/output error")


class ShareSide:
    def __init__(self, target: repairs.Repairs) -> None:
        self.target, self.share = target, Share()
        target.folder.disk = self.share

    def document(self, number: int, version: int) -> tuple[str, Document]:
        body = {"agreement": f"T-00/{number}", "address": f"{version} High Street"}
        return f"housing:garage-letting:{number}", Document("garage", str(number), body)

    def refusable(self, number: int) -> tuple[str, Document]:
        return f"housing:garage-letting:{number}/", Document("garage", f"{number}/", {})

    def held(self, number: int) -> Body | None:
        file = self.target.folder.path / f"{number}.json"
        return json.loads(file.read_text("utf-8")) if file.exists() else None

    def effects(self) -> int:
        return self.share.effects

    def trouble(self, trouble: Trouble) -> None:
        self.share.trouble = trouble


class TestRepairs(TargetSuite):
    says_how_long = False

    @pytest.fixture
    async def side(self, tmp_path: Path) -> AsyncIterator[ShareSide]:
        async with Resources("repairs", LocalBudget.of) as resources:
            settings = repairs.RepairsSettings(folder=tmp_path)
            yield ShareSide(repairs.system.build("repairs", settings, resources))

    async def test_a_file_that_somebody_spoilt_is_written_again(self, side: ShareSide) -> None:
        subject, document = side.document(1, 1)
        (side.target.folder.path / "1.json").write_text("spoilt")
        (shown,) = await side.target.read_back([repairs.Write(subject, document)])
        assert shown == repairs.Untold("the file holds no JSON")

    async def test_its_check_finds_the_folder(self, side: ShareSide) -> None:
        assert [finding.well for finding in await side.target.check()] == [True]


# -- the flows ---------------------------------------------------------------------------------------------------------

TENANT = Person(key="housing:person:7", names=(Name(given="Abraham", family="Darby"),))


def letting(**more: Any) -> GarageLetting:
    garage = Address(lines=("1 High Street", "Coalbrookdale"), postcode="TF8 7DT")
    named = {"key": "housing:garage-letting:9", "tenant": TENANT.key, "agreement": "T-00/9"}
    given = named | {"garage": garage, "start_date": "2020-04-06"}
    return GarageLetting.model_validate(given | more)


def facts(*entities: Entity, today: date = date(2026, 4, 1)) -> Facts:
    return Facts([Fact(each.type_name, each.key, each.owner, 1, each.to_bytes()) for each in entities], today)


def test_a_tenant_is_a_vendor_from_the_day_on_which_a_letting_with_a_credit_ends() -> None:
    address = {"base_url": "https://x", "token_url": "https://x/t"}
    client = {"company": UUID(int=1), "client_id": "a", "client_secret": "b"}
    there = BusinessCentralSettings.model_validate(address | client)
    flow = refunds.system.build("refunds", refunds.RefundSettings(), there)
    ends = facts(TENANT, letting(end_date="2026-04-02", credit="120.50"))
    assert flow.desired(TENANT.key, ends) == Nothing("no letting that has ended with a credit")
    assert ends.recheck == date(2026, 4, 2)
    owed = flow.desired(TENANT.key, facts(TENANT, letting(end_date="2026-03-31", credit="120.50")))
    assert owed == Document("vendor", "HT-7", {"number": "HT-7", "displayName": "Abraham Darby"})
    assert flow.desired(TENANT.key, facts()) is None


def test_a_garage_is_shown_to_the_contractor_until_the_day_on_which_its_letting_ends() -> None:
    assert repairs.system.flow is not None
    flow = repairs.system.flow.build("repairs", repairs.LetSettings(), None)
    body = {"agreement": "T-00/9", "since": "2020-04-06", "address": "1 High Street, Coalbrookdale", "postcode": "TF8 7DT"}
    assert flow.desired("housing:garage-letting:9", facts(letting(end_date="2026-04-02"))) == Document("garage", "9", body)
    ended = flow.desired("housing:garage-letting:9", facts(letting(end_date="2026-04-01")))
    assert ended == Nothing("the letting has ended")
