"""Dataverse passes the scenarios that every target passes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from canonical import Involvement, Person
from canonical.entity import Entity
from canonical.people import Name
from flows.dataverse.cases import Cases, CaseSettings
from flows.dataverse.sandbox import DataverseSandbox
from flows.dataverse.tests.environment import document_of, environment, settings_of
from flows.kit.plain import short_name
from flows.port import Body, Document, Write
from flows.testing import SandboxSide, TargetSuite


class DataverseSide(SandboxSide):
    sandbox: DataverseSandbox
    flow: Cases

    def document(self, number: int, version: int) -> tuple[str, Document]:
        return self._document(Person(key=f"mosaic:person:{number}", names=(Name(given="Ada", family=f"Okafor {version}"),)))

    def refusable(self, number: int) -> tuple[str, Document]:
        subject, document = self.document(number, 1)
        return subject, Document(document.kind, document.number, document.body | {"gendercode": 9})

    def held(self, number: int) -> Body | None:
        row = self.sandbox.row("contact", short_name(f"mosaic:person:{number}"))
        return row and {name: row[name] for name in self.document(number, 1)[1].body}

    def alter(self, number: int) -> None:
        changes = {"lastname": "as somebody wrote it"}
        self.sandbox.write(self.sandbox.kinds["contact"], short_name(f"mosaic:person:{number}"), changes)

    def referring(self, number: int) -> Write:
        child = "mosaic:person:99"
        subject, document = self._document(Involvement(key=f"mosaic:involvement:{number}", person=child, team="North"))
        return Write(subject, document, refs={"customerid_contact": short_name(child)})

    def _document(self, entity: Entity) -> tuple[str, Document]:
        return entity.key, document_of(self.flow, entity)


class TestDataverse(TargetSuite):
    @pytest.fixture
    async def side(self) -> AsyncIterator[DataverseSide]:
        async with environment(timeout=httpx.Timeout(2.0)) as (target, sandbox):
            side = DataverseSide(target, sandbox, "/contacts(")
            side.flow = Cases("dataverse", CaseSettings(), settings_of(sandbox))
            yield side
