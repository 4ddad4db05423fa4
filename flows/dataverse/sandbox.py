"""
A small real stand-in for one Dataverse environment: `python -m flows.dataverse.sandbox --port 8803`.

It takes the Web API's own addresses below `/api/data/v9.2`, and refuses what Dataverse refuses. In one point it is stricter:
a key column in the body is refused; Dataverse writes the body's value over the one of the address.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from flows.dataverse.sandbox_limits import ServiceLimits
from flows.dataverse.sandbox_tables import TABLES, DataverseError, Json, SandboxTable, lookups_of
from flows.kit.sandbox import Effect, Operation, Sandbox, SandboxSettings, digest_of, run

ROOT = "/api/data/v9.2/"
_PLACE = re.compile(r"(\w+)\((.*)\)")
_PART = re.compile(r"(\w+)=(?:'((?:[^']|'')*)'|(-?\d+))(?:,|$)")
_DEFINED = re.compile(r"EntityDefinitions\(LogicalName='(\w+)'\)(?:/Attributes\(LogicalName='(\w+)'\)/[\w.]+)?")
_ABSENT = "0x80060891"


@dataclass(frozen=True, kw_only=True)
class DataverseSandboxSettings(SandboxSettings):
    """
    The environment's tables and limits. Each request costs `execution` seconds of execution time. With `shows` False a write
    is answered without the row (204), as if nobody had asked for it.
    """

    tables: Sequence[SandboxTable] = TABLES
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    execution: float = 0.0
    shows: bool = True


class DataverseSandbox(Sandbox):
    """Rows are held by table and id: `documents("contact")`. What it is asked for between looking and making is a race."""

    settings: DataverseSandboxSettings

    def __init__(self, settings: DataverseSandboxSettings | None = None) -> None:
        super().__init__(settings or DataverseSandboxSettings())
        self.tables = {table.entity_set: table for table in self.settings.tables}
        self.kinds = {table.name: table for table in self.settings.tables}
        held = [(table, key, row) for table in self.settings.tables for key, row in self.documents(table.name).items()]
        self._ids = {(table.name, self.number(table, row)): key for table, key, row in held}
        self._version = self.held.sequence

    async def answer(self, request: Request) -> Response:
        if request.url.path.endswith("/token"):
            return await self.tokens.answer(request)
        if not self.tokens.valid(request.headers.get("authorization", "")):
            return Response(status_code=401, headers={"WWW-Authenticate": "Bearer"})
        limits = self.settings.limits
        if (turned_away := limits.begin()) is not None:
            code, wait = turned_away
            error = DataverseError(429, code, "A service protection limit is reached.")
            return JSONResponse(error.body, 429, {"Retry-After": str(wait)})
        try:
            await asyncio.sleep(self.settings.latency)
            return await self._worked(request)
        except DataverseError as refused:
            return JSONResponse(refused.body, refused.status)
        finally:
            limits.end(self.settings.execution)

    async def _worked(self, request: Request) -> Response:
        path = unquote(request.url.path).removeprefix(ROOT)
        if request.method == "GET" and (said := self._metadata(path)) is not None:
            return JSONResponse(said)
        place = _PLACE.fullmatch(path)
        if place is None or place[1] not in self.tables:
            raise DataverseError(404, "0x8006088a", "Resource not found for the segment.")
        table = self.tables[place[1]]
        number = self._number(table, place[2])
        match request.method:
            case "PATCH":
                return await self._upserted(request, table, number)
            case "GET":
                return self._shown(request, table, number)
            case "DELETE":
                return self._deleted(request, table, number)
        raise DataverseError(405, "", "The requested resource does not support this http method.")

    def _metadata(self, path: str) -> Json | None:
        if path == "WhoAmI()":
            return {"UserId": "5d5f1c2e-0000-4000-8000-000000000001"}
        if path.endswith("RetrieveUserPrivileges()"):
            every = [right["PrivilegeId"] for table in self.settings.tables for right in table.definition()["Privileges"]]
            return {"RolePrivileges": [{"PrivilegeId": right, "Depth": "Global"} for right in every]}
        defined = _DEFINED.fullmatch(path)
        if defined is None:
            return None
        table, column = self.kinds.get(defined[1]), defined[2]
        if table is None or (column and column not in {*table.columns, "statecode", "statuscode"}):
            raise DataverseError(404, "0x80060888", "The entity or attribute does not exist.")
        return {"LogicalName": column, "OptionSet": {"Options": table.options(column)}} if column else table.definition()

    # -- rows ------------------------------------------------------------------------------------------------------

    def number(self, table: SandboxTable, row: Json) -> str:
        """The values of a row's key."""
        return ":".join(str(row[column]) for column in table.key)

    def row(self, kind: str, number: str) -> Json | None:
        """The row of a table with this value of the key."""
        key = self._ids.get((kind, number), "")
        text = self.held.get(kind, [key]).get(key)
        return json.loads(text) if text else None

    def _number(self, table: SandboxTable, said: str) -> str:
        parts = {name: text.replace("''", "'") if text or not whole else whole for name, text, whole in _PART.findall(said)}
        if parts.keys() != set(table.key):
            raise DataverseError(400, "0x80060888", "The key property is not a key of the entity.")
        return ":".join(parts[column] for column in table.key)

    async def _upserted(self, request: Request, table: SandboxTable, number: str) -> Response:
        body = self._body(await request.body())
        table.checked(body)
        if number in self.refused_keys():
            raise DataverseError(400, "0x80040265", "An error occurred in a plug-in.")
        held = self.row(table.name, number)
        self._matched(request, table, held)
        bound = self._bound(table, body)
        if held is None:
            if table.wants_one_of and not any(bound.get(f"_{name}") for name in table.wants_one_of):
                raise DataverseError(400, "", "You should specify a parent contact or account.")
            await asyncio.sleep(0)  # another upsert of the same key may come in between: the index then refuses this one
            if (table.name, number) in self._ids:
                raise DataverseError(412, "0x80060892", "A record with matching key values already exists.")
        columns = {name: value for name, value in body.items() if "@" not in name}
        row = self.write(table, number, columns | bound, request.state.id)
        return self._written(request, table, row, 201 if held is None else 200)

    def write(self, table: SandboxTable, number: str, changes: Json, by: str = "by hand") -> Json:
        """Make or change a row, merged with what it holds."""
        held = self.row(table.name, number)
        key = self._ids.setdefault((table.name, number), str(uuid.uuid4()))
        self._version += 1
        fresh = dict(zip(table.key, number.split(":"), strict=True)) | {"statecode": 0, "statuscode": table.states[0][0]}
        row = (held or {f"{table.name}id": key, **fresh}) | changes | {"versionnumber": self._version}
        self._keep(by, table, number, key, "create" if held is None else "update", row)
        return row

    def _keep(self, by: str, table: SandboxTable, number: str, key: str, operation: Operation, row: Json | None) -> None:
        text = None if row is None else json.dumps(row)
        self.held.keep(by, [Effect(table.name, key, number, operation, text, digest_of(text or ""), 1)])

    def _body(self, sent: bytes) -> Json:
        try:
            body = json.loads(sent)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise DataverseError(400, "0x80048d19", "Error identified in Payload provided by the user.")
        return body

    def _matched(self, request: Request, table: SandboxTable, held: Json | None) -> None:
        match, none = request.headers.get("if-match"), request.headers.get("if-none-match")
        if match is not None and held is None:
            raise DataverseError(404, "", f"{table.name} Does Not Exist")
        if match not in (None, "*") and match != _tag(held):
            raise DataverseError(412, "0x80060882", "The version of the existing record doesn't match the one provided.")
        if none == "*" and held is not None:
            raise DataverseError(412, "0x80060892", "A record with matching key values already exists.")

    def _bound(self, table: SandboxTable, body: Json) -> Json:
        """The lookups that a body sets, with the numbers of the rows that they are bound to."""
        lookups = lookups_of(table, body)
        return {f"_{name}": to and self._there(name, table.lookups[name], to) for name, to in lookups}

    def _there(self, lookup: str, kind: str, to: Any) -> str:
        place, other = _PLACE.fullmatch(unquote(str(to)).removeprefix("/")), self.kinds[kind]
        if place is None or place[1] != other.entity_set:
            raise DataverseError(400, "0x80048d19", f"The value of '{lookup}@odata.bind' is no address of {other.entity_set}.")
        number = self._number(other, place[2])
        if (kind, number) not in self._ids:
            raise DataverseError(404, _ABSENT, f"A record with the specified key values does not exist in {kind} entity")
        return number

    # -- answers ---------------------------------------------------------------------------------------------------

    def _written(self, request: Request, table: SandboxTable, row: Json, status: int) -> Response:
        where = {"OData-EntityId": f"{self.url}{ROOT}{table.entity_set}({row[f'{table.name}id']})", "OData-Version": "4.0"}
        if not self.settings.shows or "return=representation" not in request.headers.get("prefer", ""):
            return Response(status_code=204, headers=where)
        return JSONResponse(self._seen(table, row, request.query_params), status, where)

    def _shown(self, request: Request, table: SandboxTable, number: str) -> Response:
        row = self.row(table.name, number)
        if row is None:
            raise DataverseError(404, _ABSENT, f"A record with the specified key values does not exist in {table.name} entity")
        if request.headers.get("if-none-match") == _tag(row) and "$expand" not in request.query_params:
            return Response(status_code=304)
        return JSONResponse(self._seen(table, row, request.query_params), 200, {"OData-Version": "4.0"})

    def _seen(self, table: SandboxTable, row: Json, query: Mapping[str, str]) -> Json:
        known = {*table.key, *table.columns, "statecode", "statuscode", "versionnumber", f"{table.name}id"}
        asked = query["$select"].split(",") if "$select" in query else sorted(known)
        if strange := sorted(set(asked) - known):
            raise DataverseError(400, "0x80060888", f"Could not find a property named '{strange[0]}' on {table.name}.")
        seen = {"@odata.etag": _tag(row)} | {name: row.get(name) for name in asked}
        return seen | {name: self._expanded(table, row, name) for name in re.findall(r"(\w+)\(", query.get("$expand", ""))}

    def _expanded(self, table: SandboxTable, row: Json, lookup: str) -> Json | None:
        if lookup not in table.lookups:
            raise DataverseError(400, "0x80060888", f"Could not find a property named '{lookup}' on {table.name}.")
        other = self.kinds[table.lookups[lookup]]
        held = self.row(other.name, row.get(f"_{lookup}") or "")
        return held and {name: held[name] for name in other.key}

    def _deleted(self, request: Request, table: SandboxTable, number: str) -> Response:
        held = self.row(table.name, number)
        if held is None:
            raise DataverseError(404, _ABSENT, f"A record with the specified key values does not exist in {table.name} entity")
        self._matched(request, table, held)
        self._keep(request.state.id, table, number, self._ids.pop((table.name, number)), "purge", None)
        return Response(status_code=204)


def _tag(row: Json | None) -> str:
    return "" if row is None else f'W/"{row["versionnumber"]}"'


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.dataverse.sandbox", description="A stand-in environment.")
    parser.add_argument("--port", type=int, default=8803)
    parser.add_argument("--data", type=Path, help="SQLite file that outlives the process (default: memory)")
    options = parser.parse_args()
    run(DataverseSandbox(DataverseSandboxSettings(port=options.port, data=options.data)))


if __name__ == "__main__":
    main()
