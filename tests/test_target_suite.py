"""Every shipped target passes the scenarios that every target passes, each against its own sandbox."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from canonical import Invoice, Supplier
from flows.business_central import BusinessCentralFlow, BusinessCentralSettings, BusinessCentralTarget, PurchaseSettings
from flows.business_central import system as business_central
from flows.business_central.sandbox import BusinessCentralSandbox
from flows.dfe_csc.sandbox import DfeCscSandbox, DfeCscSandboxSettings
from flows.dfe_csc.settings import DfeCscSettings
from flows.dfe_csc.target import DfeCsc
from flows.kit.http import client
from flows.kit.requests import LocalBudget
from flows.port import Body, Document, Fact, Facts, Flow, Limits, Write
from flows.testing import SandboxSide, TargetSuite
from tests.agreement import START


class DfeSide(SandboxSide):
    def document(self, number: int, version: int) -> tuple[str, Document]:
        name = f"C{number}"
        details = {"sex": "U", "disabilities": ["NONE"], "uasc_flag": version % 2 == 0}
        body = {"la_child_id": name, "mis_child_id": name, "child_details": details}
        return f"x:person:{name}", Document("child", name, body)

    def refusable(self, number: int) -> tuple[str, Document]:
        subject, document = self.document(number, 1)
        return subject, Document("child", document.number, document.body | {"child_details": {"sex": "no such code"}})

    def held(self, number: int) -> Body | None:
        found: Body | None = self.sandbox.documents("941").get(f"C{number}")
        return found


class TestDfeCsc(TargetSuite):
    @pytest.fixture
    async def side(self) -> AsyncIterator[DfeSide]:
        async with (
            DfeCscSandbox(DfeCscSandboxSettings(la_codes=frozenset({"941"}))) as sandbox,
            client(Limits(), LocalBudget(10_000, 1.0), timeout=httpx.Timeout(2.0)) as http,
        ):
            settings = DfeCscSettings.model_validate(
                {
                    "la_code": "941",
                    "api_endpoint": sandbox.url,
                    "token_url": f"{sandbox.url}/token",
                    "client_id": "ironbridge",
                    "client_secret": "sandbox-secret",
                    "supplier_key": "sandbox-supplier",
                }
            )
            yield DfeSide(DfeCsc("dfe_csc", settings, http), sandbox, "/children")


class BusinessCentralSide(SandboxSide):
    flow: Flow

    def document(self, number: int, version: int) -> tuple[str, Document]:
        return self._document(Supplier(key=f"payables:supplier:{number}", number=str(number), name=f"Joiners {version}"))

    def refusable(self, number: int) -> tuple[str, Document]:
        subject, document = self.document(number, 1)
        return subject, Document(document.kind, document.number, document.body | {"number": "9" * 40})

    def held(self, number: int) -> Body | None:
        vendors: list[dict[str, Any]] = list(self.sandbox.documents("vendors").values())
        return next((vendor for vendor in vendors if vendor["number"] == str(number)), None)

    def alter(self, number: int) -> None:
        assert isinstance(self.sandbox, BusinessCentralSandbox)
        company = self.sandbox.company
        vendor = next(row for row in company.rows("vendors") if row["number"] == str(number))
        company.change("by hand", "vendors", vendor, {"displayName": "as somebody wrote it"})

    def referring(self, number: int) -> Write:
        key, vendor = f"payables:invoice:{number}", "payables:supplier:9"
        invoice = Invoice.model_validate(
            {"key": key, "supplier": vendor, "number": "1", "lines": [{"number": 1, "description": "Doors", "net": "12.00"}]}
        )
        subject, document = self._document(invoice)
        return Write(subject, document, refs={"vendorId": str(uuid4())})

    def _document(self, entity: Invoice | Supplier) -> tuple[str, Document]:
        fact = Fact(entity.type_name, entity.key, entity.owner, 1, entity.to_bytes())
        document = self.flow.desired(entity.key, Facts([fact], START.date()))
        assert isinstance(document, Document)
        return entity.key, document


class TestBusinessCentral(TargetSuite):
    def same(self, held: Body | None, document: Document) -> bool:
        return held is not None and held["displayName"] == document.body["displayName"]

    @pytest.fixture
    async def side(self) -> AsyncIterator[BusinessCentralSide]:
        async with (
            BusinessCentralSandbox(None) as sandbox,
            client(Limits(), LocalBudget(10_000, 1.0), timeout=httpx.Timeout(2.0)) as http,
        ):
            sandbox.company.seed({"8000": "Supplies"})
            there, says = business_central.divided(
                {
                    "base_url": f"{sandbox.url}/v2.0/tenant/production/api/v2.0",
                    "company": sandbox.settings.company,
                    "token_url": f"{sandbox.url}/tenant/oauth2/v2.0/token",
                    "client_id": sandbox.settings.client_id,
                    "client_secret": sandbox.settings.client_secret,
                    "default_account": "8000",
                }
            )
            settings = BusinessCentralSettings.model_validate(there)
            target = BusinessCentralTarget("business_central", settings, http)
            side = BusinessCentralSide(target, sandbox, "$batch", looks=1)
            side.flow = BusinessCentralFlow("business_central", PurchaseSettings.model_validate(says), settings)
            yield side
