"""
A stand-in for a FHIR R4 server: `python -m flows.fhir.sandbox --port 8803`.

It has the three resources of a shared care record, keeps versions, and takes transactions: all of one or nothing. It refuses what
R4 refuses: unlawful ids, elements that do not hold, references to what is not there, versions that are not the newest, a bundle
that has one identity twice. With `insists`, a change of what is there wants `If-Match` (R4, `versioned-update`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from flows.fhir.sandbox_rules import ID, RESOURCES, Json, Wrong, wrongs
from flows.kit.sandbox import Effect, Operation, Sandbox, SandboxSettings, digest_of, run

_BASE: Final = "/fhir"
_MATCH: Final = re.compile(r'(?:W/)?"([A-Za-z0-9.-]{1,64})"')


@dataclass(frozen=True, kw_only=True)
class FhirSandboxSettings(SandboxSettings):
    insists: bool = False  # whether a change of what is there needs If-Match
    offers: Json = field(default_factory=dict)  # what its CapabilityStatement says otherwise of each resource


class _NotTakenError(Exception):
    """The whole request is refused: a status and an issue."""

    def __init__(self, status: int, *issues: Wrong) -> None:
        self.status = status
        self.issues = issues
        super().__init__(status)


class FhirSandbox(Sandbox):
    settings: FhirSandboxSettings

    def __init__(self, settings: FhirSandboxSettings | None = None) -> None:
        super().__init__(settings or FhirSandboxSettings())

    async def answer(self, request: Request) -> Response:
        await asyncio.sleep(self.settings.latency)
        path = request.url.path.rstrip("/")
        if path == "/token":
            return await self.tokens.answer(request)
        if path == f"{_BASE}/metadata":
            return _said(_capabilities(self.settings))
        if not self.tokens.valid(request.headers.get("authorization", "")):
            return _outcome(401, Wrong("login", ""))
        if (wait := self.throttle.wait()) > 0:
            return _outcome(429, Wrong("throttled", ""), {"Retry-After": str(int(wait) + 1)})
        try:
            return await self._routed(request, path.removeprefix(_BASE).strip("/"))
        except _NotTakenError as error:
            return _outcome(error.status, *error.issues)

    async def _routed(self, request: Request, path: str) -> Response:
        if not path and request.method == "POST":
            return self._transaction(request, await request.body())
        kind, _, number = path.partition("/")
        if kind not in RESOURCES or request.method != "GET":
            raise _NotTakenError(405 if kind in RESOURCES else 404, Wrong("not-supported", ""))
        if not number:
            return _said({"resourceType": "Bundle", "type": "searchset", "total": self.held.counts[kind]})
        held = self._held(path)
        if held is None:
            raise _NotTakenError(404, Wrong("not-found", ""))
        return _said(held, {"ETag": f'W/"{held["meta"]["versionId"]}"'})

    def _held(self, address: str) -> Json | None:
        kind, _, number = address.partition("/")
        text = self.held.get(kind, [number]).get(number)
        return None if text is None else json.loads(text)

    # -- transactions ----------------------------------------------------------------------------------------------

    def _transaction(self, request: Request, sent: bytes) -> Response:
        entries = _entries(sent)
        told = [self._checked(entry) for entry in entries]
        after = dict(zip(_addresses(entries), told, strict=True))
        if refused := self.refused_keys() & {address.partition("/")[2] for address in after}:
            raise _NotTakenError(422, *(Wrong("business-rule", "") for _ in refused))
        self._referring(after)
        whole = "return=representation" in request.headers.get("prefer", "")
        effects = [effect for address, resource in after.items() if (effect := self._effect(address, resource))]
        had = {address: self._held(address) for address in after}
        self.held.keep(request.state.id, effects)
        answers = [_answer(had[each], self._held(each), each, whole) for each in after]
        return _said({"resourceType": "Bundle", "type": "transaction-response", "entry": answers})

    def _checked(self, entry: Json) -> Json | None:
        """The resource that an entry puts there; None if it deletes."""
        request, resource = entry["request"], entry.get("resource")
        address = request.get("url", "")
        kind, _, number = address.partition("/")
        if kind not in RESOURCES or not ID.fullmatch(number):
            raise _NotTakenError(400, Wrong("value", "Bundle.entry.request.url"))
        self._version(address, request.get("ifMatch"))
        if request.get("method") == "DELETE":
            return None
        if request.get("method") != "PUT" or not isinstance(resource, dict):
            raise _NotTakenError(400, Wrong("not-supported", "Bundle.entry.request.method"))
        if (resource.get("resourceType"), resource.get("id")) != (kind, number):
            raise _NotTakenError(400, Wrong("invalid", f"{kind}.id"))
        if found := [*wrongs(resource)]:
            raise _NotTakenError(422, *found)
        return resource

    def _version(self, address: str, match: object) -> None:
        held = self._held(address)
        if match is None and held is not None and self.settings.insists:
            raise _NotTakenError(400, Wrong("required", "Bundle.entry.request.ifMatch"))
        if match is None:
            return
        wanted = _MATCH.fullmatch(str(match))
        if wanted is None:
            raise _NotTakenError(400, Wrong("value", "Bundle.entry.request.ifMatch"))
        if held is None or held["meta"]["versionId"] != wanted.group(1):
            raise _NotTakenError(412, Wrong("conflict", ""))

    def _referring(self, after: dict[str, Json | None]) -> None:
        """Everything that is referred to has to be there afterwards."""
        for resource in after.values():
            wanted = (resource or {}).get("patient", {}).get("reference")
            if wanted and (after[wanted] if wanted in after else self._held(wanted)) is None:
                raise _NotTakenError(400, Wrong("not-found", f"{(resource or {})['resourceType']}.patient"))
        gone = {address for address, resource in after.items() if resource is None}
        for kind in ("RelatedPerson", "EpisodeOfCare"):
            for number, resource in self.documents(kind).items() if gone else ():
                if resource.get("patient", {}).get("reference") in gone and f"{kind}/{number}" not in after:
                    raise _NotTakenError(409, Wrong("conflict", ""))

    def _effect(self, address: str, resource: Json | None) -> Effect | None:
        kind, _, number = address.partition("/")
        held = self._held(address)
        if resource is None:
            return Effect(kind, number, number, "purge", None, digest_of(""), 1) if held else None
        same = held is not None and _plain(held) == _plain(resource)
        version = held["meta"]["versionId"] if held and same else str(int(held["meta"]["versionId"]) + 1 if held else 1)
        kept = {**resource, "meta": {**resource.get("meta", {}), "versionId": version, "lastUpdated": _now()}}
        text = json.dumps(held if held and same else kept)
        operation: Operation = "update" if held else "create"
        return Effect(kind, number, number, operation, text, digest_of(text), int(not same))


def _entries(sent: bytes) -> list[Json]:
    try:
        bundle = json.loads(sent)
    except ValueError:
        raise _NotTakenError(400, Wrong("structure", "Bundle")) from None
    if not isinstance(bundle, dict) or (bundle.get("resourceType"), bundle.get("type")) != ("Bundle", "transaction"):
        raise _NotTakenError(400, Wrong("invalid", "Bundle.type"))
    entries = bundle.get("entry")
    if not isinstance(entries, list) or not all(isinstance(each, dict) and "request" in each for each in entries):
        raise _NotTakenError(422, Wrong("required", "Bundle.entry.request"))
    if any(many > 1 for many in Counter(_addresses(entries)).values()):
        raise _NotTakenError(400, Wrong("invalid", "Bundle.entry"))
    return entries


def _addresses(entries: Sequence[Json]) -> Iterator[str]:
    return (str(entry["request"].get("url", "")) for entry in entries)


def _answer(had: Json | None, has: Json | None, address: str, whole: bool) -> Json:
    if has is None:
        return {"response": {"status": "204 No Content"}}
    version = has["meta"]["versionId"]
    response = {
        "status": "200 OK" if had else "201 Created",
        "location": f"{address}/_history/{version}",
        "etag": f'W/"{version}"',
        "lastModified": has["meta"]["lastUpdated"],
    }
    return {"response": response, **({"resource": has} if whole else {})}


def _plain(resource: Json) -> Json:
    meta = {name: value for name, value in resource.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return {**resource, "meta": meta}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _capabilities(settings: FhirSandboxSettings) -> Json:
    interactions = [{"code": code} for code in ("read", "update", "delete")]
    versioning = "versioned-update" if settings.insists else "versioned"
    offered = {"interaction": interactions, "updateCreate": True, "versioning": versioning, **settings.offers}
    server = {
        "mode": "server",
        "interaction": [{"code": "transaction"}],
        "resource": [{"type": kind, **offered} for kind in RESOURCES],
    }
    return {
        "resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01", "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"], "rest": [server],
    }  # fmt: skip


def _said(resource: Json, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(resource, 200, headers, "application/fhir+json")


def _outcome(status: int, *issues: Wrong | dict[str, str]) -> Response:
    headers = next((each for each in issues if isinstance(each, dict)), None)
    found = [
        {"severity": "error", "code": each.code, **({"expression": [each.path]} if each.path else {})}
        for each in issues
        if isinstance(each, Wrong)
    ]
    return JSONResponse({"resourceType": "OperationOutcome", "issue": found}, status, headers, "application/fhir+json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8803)
    run(FhirSandbox(FhirSandboxSettings(port=parser.parse_args().port)))
