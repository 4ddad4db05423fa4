"""Tells whether a server offers what the target needs, by its CapabilityStatement (`/metadata`): R4, and some interactions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx

from canonical.finding import Finding
from flows.kit.http import json_of

_RESOURCES: Final = ("Patient", "RelatedPerson", "EpisodeOfCare")
_INTERACTIONS: Final = ("read", "update", "delete")
_OTHER: Final = "this server cannot be a target: ask its operator for a service that offers it"


def findings(answer: httpx.Response) -> Sequence[Finding]:
    """One finding for each thing that is needed; those that lack say so."""
    said = json_of(answer) if answer.is_success else None
    if not isinstance(said, dict) or said.get("resourceType") != "CapabilityStatement":
        fix = "check base_url: GET {base_url}/metadata shows a CapabilityStatement"
        return [Finding(f"the server says what it offers: it does not ({answer.status_code})", False, fix)]
    return list(_offers(said))


def _offers(statement: dict[str, Any]) -> Iterator[Finding]:
    version = str(statement.get("fhirVersion", ""))
    yield _finding("the server speaks FHIR R4", version.startswith("4.0"))
    servers = [rest for rest in _listed(statement.get("rest")) if rest.get("mode") == "server"]
    server = servers[0] if servers else {}
    yield _finding("it takes transactions", "transaction" in _codes(server))
    by_type = {each.get("type"): each for each in _listed(server.get("resource"))}
    for kind in _RESOURCES:
        yield from _offered(kind, by_type.get(kind, {}))


def _offered(kind: str, resource: dict[str, Any]) -> Iterator[Finding]:
    lacking = [each for each in _INTERACTIONS if each not in _codes(resource)]
    yield _finding(f"{kind}: it offers read, update and delete", not lacking, f": no {', no '.join(lacking)}")
    # HAPI takes ids of ours and does not say so: only a plain "no" counts.
    yield _finding(f"{kind}: it takes our ids (updateCreate)", bool(resource) and resource.get("updateCreate") is not False)
    yield _finding(f"{kind}: it keeps versions", resource.get("versioning") in ("versioned", "versioned-update"))


def _finding(what: str, well: bool, lacks: str = ": it does not") -> Finding:
    return Finding(what, True) if well else Finding(f"{what}{lacks}", False, _OTHER)


def _codes(offers: dict[str, Any]) -> set[Any]:
    return {each.get("code") for each in _listed(offers.get("interaction"))}


def _listed(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
