"""Every request that the Dataverse target sends is held against Microsoft's entity definitions (Common Data Model)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from starlette.requests import Request
from starlette.responses import Response

from canonical import Involvement, Person, Supplier
from canonical.entity import Entity
from canonical.people import Address, ContactPoint, Name
from flows.dataverse.accounts import Accounts, AccountSettings
from flows.dataverse.cases import Cases, CaseSettings
from flows.dataverse.sandbox import ROOT, DataverseSandbox
from flows.dataverse.sandbox_tables import KEY, TABLES, SandboxColumn
from flows.dataverse.target import DataverseTarget
from flows.dataverse.tests.environment import document_of, environment, settings_of
from flows.kit.plain import short_name
from flows.port import Absent, Confirmed, Held, Write

ADDRESS = Address(lines=("Flat 1", "Gorge House", "High Street", "Madeley"), town="Telford", postcode="TF7 4AA")
REACHED = (ContactPoint(system="phone", value="01952 432100"), ContactPoint(system="email", value="a.okafor@example.org"))
CHILD = Person.model_validate({
    "key": "mosaic:person:7", "names": [Name(given="Ada", family="Okafor", title="Ms")], "birth_date": date(2012, 3, 4),
    "sex": "F", "addresses": [ADDRESS], "contacts": REACHED,
})  # fmt: skip
FIRM = Supplier(key="payables:supplier:1", number="1", name="Joinery Ltd", addresses=(ADDRESS,), contacts=REACHED)
TEAM = Involvement(key="mosaic:involvement:3", person=CHILD.key, team="North", role="SW", end_date=date(2025, 12, 1))
SORTS = {
    "string": "text", "firstName": "text", "middleName": "text", "lastName": "text", "name": "text", "phone": "text",
    "email": "text", "url": "text", "dateTime": "day", "listLookup": "choice",
}  # fmt: skip


class Overheard(DataverseSandbox):
    """The sandbox, which keeps every request as it came over the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []

    async def answer(self, request: Request) -> Response:
        if ROOT in request.url.path:
            body = await request.body()
            where, asked = unquote(request.url.path).removeprefix(ROOT), dict(parse_qsl(request.url.query))
            self.sent.append((request.method, where, asked, dict(request.headers), json.loads(body) if body else None))
        return await super().answer(request)


class Definition:
    """One entity of the Common Data Model: its columns with type, length and choices, and its lookups."""

    def __init__(self, file: Path) -> None:
        entity = json.loads(file.read_text("utf-8"))["definitions"][0]
        self.members = [
            member
            for group in entity["hasAttributes"]
            for member in group["attributeGroupReference"]["members"]
            if isinstance(member, dict)
        ]
        self.text = file.read_text("utf-8")

    def column(self, name: str) -> dict[str, Any] | None:
        return next((each for each in self.members if each.get("sourceName") == name), None)

    def holds_addresses(self) -> bool:
        """Addresses are columns of another entity, which a table has once or more: `address1_…`, `address2_…`."""
        address = next((each for each in self.members if each["name"] == "address"), None)
        return address is not None and address["resolutionGuidance"]["expansion"]["maximumExpansion"] >= 1

    def options(self, name: str) -> set[int]:
        column = self.column(name)
        assert column, name
        return {int(row[2]) for row in _rows(column["dataType"])}


def _rows(data_type: Any) -> Iterator[list[str]]:
    for trait in data_type["appliedTraits"]:
        for argument in trait["arguments"]:
            yield from argument["entityReference"]["constantValues"]


def definitions(shared: Path) -> dict[str, Definition]:
    files = {"contact": "Contact", "account": "Account", "incident": "Case"}
    return {kind: Definition(shared / "specs" / "dataverse" / f"{file}.cdm.json") for kind, file in files.items()}


def sort_of(column: dict[str, Any]) -> str:
    data_type = column["dataType"]
    return SORTS[data_type if isinstance(data_type, str) else data_type["dataTypeReference"]]


@asynccontextmanager
async def overheard() -> AsyncIterator[tuple[DataverseTarget, Overheard]]:
    there = Overheard()
    async with environment(there) as (target, _):
        yield target, there


async def everything(target: DataverseTarget, there: DataverseSandbox) -> None:
    """Create, change, read back and delete one of each, with all that they can hold."""
    settings = settings_of(there)
    cases, accounts = Cases("cases", CaseSettings(), settings), Accounts("accounts", AccountSettings(), settings)
    changed: list[tuple[Any, Entity, Entity]] = [
        (cases, CHILD, CHILD.model_copy(update={"birth_date": None, "addresses": ()})),
        (accounts, FIRM, FIRM.model_copy(update={"blocked": True})),
        (cases, TEAM, TEAM.model_copy(update={"team": "South", "role": None})),
    ]
    for flow, first, second in changed:
        document, other = document_of(flow, first), document_of(flow, second)
        refs = {name: short_name(subject) for name, subject in document.refers.items()}
        (made,) = await target.write([Write(first.key, document, refs=refs)])
        assert isinstance(made, Confirmed)
        assert made.body == document.body
        (again,) = await target.write([Write(first.key, other, document, (), made.ref, made.tag, refs)])
        assert isinstance(again, Confirmed)
        (shown,) = await target.read_back([Write(first.key, other, document, (), again.ref, again.tag, refs)])
        assert shown == Held(other.body, again.ref, again.tag)
    gone = document_of(cases, TEAM)
    assert isinstance((await target.write([Write(TEAM.key, None, gone)]))[0], Confirmed)
    assert await target.read_back([Write(TEAM.key, None, gone)]) == [Absent()]


async def test_every_request_has_the_columns_types_lengths_and_choices_of_the_definitions(shared: Path) -> None:
    known, kinds = definitions(shared), {table.entity_set: table.name for table in TABLES}
    async with overheard() as (target, there):
        await everything(target, there)
    bodies = [(kinds[where.partition("(")[0]], body) for method, where, _, _, body in there.sent if method == "PATCH"]
    assert len(bodies) == 6
    for kind, body in bodies:
        for name, value in body.items():
            if name.endswith("@odata.bind"):
                assert value is None or re.fullmatch(rf"contacts\({KEY}='[A-Z2-7]{{32}}'\)", value)
                continue
            column = known[kind].column(name)
            if column is None:
                assert name.startswith("address1_"), f"{kind} has no column {name}"
                assert known[kind].holds_addresses()
            elif sort_of(column) == "choice":
                assert value in known[kind].options(name), f"{kind}.{name}"
            elif value is not None:
                assert isinstance(value, str)
                assert sort_of(column) == "text" or date.fromisoformat(value)
                assert len(value) <= column.get("maximumLength", 10)


async def test_the_key_stands_in_the_address_alone_and_every_request_has_the_headers(shared: Path) -> None:
    async with overheard() as (target, there):
        await everything(target, there)
    for method, where, asked, headers, body in there.sent:
        assert re.fullmatch(rf"(contacts|accounts|incidents)\({KEY}='[A-Z2-7]{{32}}'\)", where)
        assert KEY not in (body or {})
        assert {headers[name] for name in ("odata-version", "odata-maxversion")} == {"4.0"}
        assert (headers["if-none-match"], headers["accept"]) == ("null", "application/json")
        assert asked.get("$select") or method == "DELETE"
    changes = [(headers.get("if-match"), body) for method, _, _, headers, body in there.sent if method == "PATCH"]
    (_, _), (tag, contact), (_, _), (_, account), *_ = changes
    assert (tag or "").startswith('W/"')
    assert contact == dict.fromkeys(
        ["birthdate", "address1_line1", "address1_line2", "address1_line3", "address1_city", "address1_postalcode"]
    )
    assert account == {"statecode": 1, "statuscode": 2}, "only what changed is sent, state and status together"


def test_the_sandboxs_tables_are_those_of_the_definitions(shared: Path) -> None:
    for table in (each for each in TABLES if not each.name.startswith("cr1_")):  # those are a council's own
        known = definitions(shared)[table.name]
        for name, ours in table.columns.items():
            theirs = known.column(name)
            if theirs is None:
                assert name.startswith("address1_")
                assert known.holds_addresses()
            else:
                assert ours == _as_ours(theirs, known), f"{table.name}.{name}"
        assert set(table.states) == known.options("statecode")
        assert {status for statuses in table.states.values() for status in statuses} == known.options("statuscode")


def _as_ours(theirs: dict[str, Any], known: Definition) -> SandboxColumn:
    match sort_of(theirs):
        case "text":
            return SandboxColumn(length=theirs["maximumLength"])
        case "choice":
            return SandboxColumn("choice", options=tuple(sorted(known.options(theirs["sourceName"]))))
    return SandboxColumn("day")
