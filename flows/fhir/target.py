"""A FHIR R4 server: all resources of one person in one transaction bundle, each under an id of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import httpx

from canonical.connect.oauth import OAuthClient
from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.fhir.conformance import findings
from flows.fhir.refusal import reason
from flows.fhir.settings import FhirSettings
from flows.fhir.versions import KnownVersions, tag_of, version_of
from flows.kit.http import ClientCredentials, json_of
from flows.kit.records import RecordAccess, RecordPlace, RecordTarget, cut
from flows.port import (
    Absent,
    Body,
    Confirmed,
    Held,
    Outcome,
    ReadBack,
    Refused,
    Unknown,
    Untold,
    Write,
)

_JSON: Final = {"Accept": "application/fhir+json", "Content-Type": "application/fhir+json; charset=utf-8"}
_ALL: Final = {"Prefer": "return=representation"}


class _Told(NamedTuple):
    """One resource, as the server shows it."""

    resource: Body
    version: str | None


class FhirTarget(RecordTarget):
    """
    A person's record is one transaction: the server takes all of it or nothing, and no subject stands in a bundle twice.

    Resources are put under ids that are worked out from keys, so a repeated request makes no second one. Versions that are known
    go along as `ifMatch`. A resource that was confirmed, or may be there, and is no longer wanted is deleted in the same bundle.
    """

    crossed = frozenset({409, 412})

    def __init__(self, name: str, settings: FhirSettings, http: httpx.AsyncClient) -> None:
        client = OAuthClient(name, str(settings.token_url), settings.client_id, settings.client_secret, settings.scope)
        super().__init__(name, settings.limits, RecordAccess(http, ClientCredentials(client)))
        self._base = settings.base

    def place(self, kind: str, number: str) -> RecordPlace:
        return RecordPlace(f"{self._base}/{kind}/{number}", f"/{kind}/{{id}}")

    def refusal(self, answer: httpx.Response) -> str:
        return reason(answer.status_code, answer.content)

    # -- writing ---------------------------------------------------------------------------------------------------

    async def _agree(self, write: Write) -> Outcome:
        wanted = write.document.body if write.document else {}
        entries = [*self._deletions(write, wanted), *self._puts(write, wanted)]
        if not entries:
            return Confirmed("")
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        answer = await self._exchanged("POST", self._base, "/", json=bundle, headers={**_JSON, **_ALL})
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return await self._unhappy(answer, write, entries)
        return _confirmed(answer, write, entries)

    def _puts(self, write: Write, wanted: Body) -> Iterator[Body]:
        known = KnownVersions(write.tag)
        for address, resource in wanted.items():
            request = {"method": "PUT", "url": address, **known.match(address)}
            yield {"fullUrl": f"{self._base}/{address}", "resource": resource, "request": request}

    def _deletions(self, write: Write, wanted: Body) -> Iterator[Body]:
        known = KnownVersions(None if write.doubtful else write.tag)
        # The Patient last: some servers look at what refers to it one request after the other.
        for address in sorted(_sent(write).keys() - wanted.keys(), key=lambda each: (each.startswith("Patient/"), each)):
            yield {"request": {"method": "DELETE", "url": address, **known.match(address)}}

    async def _unhappy(self, answer: httpx.Response, write: Write, entries: Sequence[Body]) -> Outcome:
        """
        Say what a 4xx means. A conflict with a version that was sent is somebody's change: look again. A server that wants
        `If-Match` answers 400 to a change without one: if something is there already, the version has to be read first.
        """
        matched = any("ifMatch" in entry["request"] for entry in entries)
        if answer.status_code in self.crossed and (matched or answer.status_code == 412):
            if write.document is None and isinstance(await self._found(write), Absent):
                return Confirmed("")
            return Unknown(f"somebody changed the record there since it was read ({answer.status_code})")
        if answer.status_code == 409 and write.document is None:
            return Refused(f"{self.refusal(answer)}. Other resources there may refer to it: a person has to look")
        if answer.status_code == 409:
            return Unknown("it was changed there at the same time (409)")
        if answer.status_code == 400 and await self._is_there_unmatched(entries):
            return Unknown("400 without a version: it is there already, and the server may want its version (If-Match)")
        return Refused(self.refusal(answer))

    async def _is_there_unmatched(self, entries: Sequence[Body]) -> bool:
        """Tell whether the server holds a resource whose version was not sent."""
        for request in (entry["request"] for entry in entries):
            if "ifMatch" not in request and isinstance(await self._shown(request["url"]), _Told):
                return True
        return False

    # -- reading back ----------------------------------------------------------------------------------------------

    async def _found(self, write: Write) -> ReadBack:
        """All resources of the subject that are there, also those that shall not be: their versions are needed to delete them."""
        like = write.document or write.confirmed or next(reversed(write.doubtful), None)
        if like is None:
            return Absent()
        sent = _sent(write)
        found: dict[str, _Told] = {}
        for address in sorted(sent):
            told = await self._shown(address)
            if isinstance(told, Untold):
                return told
            if told is not None:
                found[address] = told
        return Held(_cut_down(found, sent), like.number, _tag(found)) if found else Absent()

    async def _shown(self, address: str) -> _Told | Untold | None:
        """One resource; None if it is not there."""
        kind, _, number = address.partition("/")
        url, template = self.place(kind, number)
        answer = await self._exchanged("GET", url, template, headers={"Accept": _JSON["Accept"]})
        if not isinstance(answer, httpx.Response):
            return Untold(answer.reason)
        if answer.status_code in (404, 410):
            return None
        said = json_of(answer)
        if not answer.is_success or not isinstance(said, dict) or said.get("resourceType") != kind:
            return Untold(f"the answer shows no such resource ({answer.status_code})")
        return _Told(said, version_of(said, answer.headers.get("etag")))

    # -- check -----------------------------------------------------------------------------------------------------

    async def check(self) -> Sequence[Finding]:
        """Read the server's CapabilityStatement, and ask for no patient at all: this shows whether the token is taken."""
        try:
            answer = await self._exchanged("GET", f"{self._base}/metadata", "/metadata", headers={"Accept": _JSON["Accept"]})
        except MisconfiguredError as error:
            return [Finding(f"the server can be reached: {error.what}", False, error.fix)]
        if not isinstance(answer, httpx.Response):
            return [Finding(f"the server can be reached: {answer.reason}", False, "check base_url, and try again later")]
        nobody = f"{self._base}/Patient?_id=nobody&_summary=count"
        fix = "ask for the scopes that read and write Patient, RelatedPerson and EpisodeOfCare"
        return [*findings(answer), await self.asked("patients can be read", nobody, "/Patient", fix)]


def _sent(write: Write) -> Body:
    """All resources that were sent of a subject or are wanted, by address, as the newest document has them."""
    newest_last = [write.confirmed, *write.doubtful, write.document]
    return {address: resource for each in newest_last if each is not None for address, resource in each.body.items()}


def _confirmed(answer: httpx.Response, write: Write, entries: Sequence[Body]) -> Outcome:
    """The answers of a transaction stand in the order of its requests; anything else says nothing of what was done."""
    said = json_of(answer)
    if isinstance(said, Unknown):
        return said
    parts = said.get("entry") if isinstance(said, dict) and said.get("type") == "transaction-response" else None
    if not isinstance(parts, list) or len(parts) != len(entries):
        return Unknown(f"{answer.status_code}, but not one answer a resource")
    told = {e["request"]["url"]: _part(part) for e, part in zip(entries, parts, strict=True) if "resource" in e}
    if write.document is None:
        return Confirmed("")
    shown = all(each.resource for each in told.values())
    return Confirmed(write.document.number, _tag(told), _cut_down(told, write.document.body) if shown else None)


def _part(part: Any) -> _Told:
    part = part if isinstance(part, dict) else {}
    response, resource = part.get("response"), part.get("resource")
    etag = response.get("etag") if isinstance(response, dict) else None
    resource = resource if isinstance(resource, dict) and resource.get("resourceType") != "OperationOutcome" else {}
    return _Told(resource, version_of(resource, etag))


def _cut_down(found: Mapping[str, _Told], sent: Body) -> Body:
    """Resources with the fields that were sent and no others, in the order of their addresses."""
    return {address: cut(found[address].resource, sent[address]) for address in sorted(found)}


def _tag(found: Mapping[str, _Told]) -> str | None:
    return tag_of({address: told.version for address, told in found.items()})
