"""
A target whose API has one record a document, under an address of its own: PUT or PATCH writes it, GET shows it, DELETE ends it.

A subclass says where a record lies and what its answers show. What an answer proves, and what stays in doubt after it, is
worked out here once (see `flows.kit.http`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from canonical.errors import MisconfiguredError
from canonical.finding import Finding
from flows.kit.http import TEMPLATE, exchange, json_of, trouble
from flows.kit.side_by_side import SideBySide
from flows.port import (
    Absent,
    Body,
    Confirmed,
    Document,
    Held,
    Limits,
    NotDone,
    Outcome,
    ReadBack,
    Refused,
    Unavailable,
    Unknown,
    Untold,
    Write,
)

_GONE = (404, 410)


class RecordPlace(NamedTuple):
    """A place is the address of a record. `template` names it in traces, where no number may stand: `/tenants/{number}`."""

    url: str
    template: str


@dataclass(frozen=True, slots=True)
class RecordAccess:
    """The client, and the credentials that every request carries (None: the client's own)."""

    http: httpx.AsyncClient
    auth: httpx.Auth | None = None


class RecordTarget(ABC):
    """
    One record a document. A record's number comes from its document, so the record is found again after any doubt.

    If the API gives a record an `ETag`, a change is sent with `If-Match`: what somebody wrote there meanwhile is not written
    over unseen. Numbers that a document had before are deleted once it has its new one. A record that the target was never
    known to hold is never deleted.
    """

    method: str = "PUT"
    """Writes a whole record, made or changed."""
    crossed: frozenset[int] = frozenset({412})
    """The answers which say that somebody changed the record since it was read."""

    def __init__(self, name: str, limits: Limits, access: RecordAccess) -> None:
        self.name = name
        self.limits = limits
        self._access = access
        self._side_by_side = SideBySide(limits)

    @abstractmethod
    def place(self, kind: str, number: str) -> RecordPlace:
        """Say where the record of a document of this kind and number lies."""

    def sent(self, write: Write, document: Document) -> Body:
        """Give what is sent for a document: its body with the ids of the records that it refers to."""
        return {**document.body, **write.refs}

    def shown(self, answer: Body, document: Document) -> Body:
        """Give what a record that the API answered shows of a document: the fields that the document speaks of."""
        return {name: cut(answer[name], value) for name, value in document.body.items() if name in answer}

    def tag(self, answer: httpx.Response, record: Body | None) -> str | None:
        """Give the concurrency tag of the record that an answer is about; None where it tells of none."""
        tag: str | None = answer.headers.get("etag")
        return tag

    def troubled(self, answer: httpx.Response) -> Unavailable | Unknown | None:
        """Give what an answer says that is not about the document, as `flows.kit.http.trouble` does."""
        return trouble(answer, self.name)

    async def turned_down(self, write: Write, document: Document, answer: httpx.Response) -> Outcome:
        """Judge an answer to a write which is about the document and says that it was not done."""
        return self._refused(answer)

    def refusal(self, answer: httpx.Response) -> str:
        """Tell people why a record was refused. The reason names fields and rules, and never quotes a value."""
        return f"the target refuses the record ({answer.status_code})"

    # -- writing ---------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Write]) -> Sequence[Outcome]:
        return await self._side_by_side.written(self._agree, batch)

    async def _agree(self, write: Write) -> Outcome:
        """Put what is wanted there, and take away what the target may hold for the subject under other numbers."""
        outcome = Confirmed("") if write.document is None else await self._put(write, write.document)
        if not isinstance(outcome, Confirmed):
            return outcome
        for document in _former(write):
            if (fault := await self._removed(write, document)) is not None:
                return fault
        return outcome

    async def _put(self, write: Write, document: Document) -> Outcome:
        match = {"If-Match": write.tag} if write.tag and _same(write.confirmed, document) else {}
        answer = await self._sent(self.method, document, json=self.sent(write, document), headers=match)
        if not isinstance(answer, httpx.Response):
            return answer
        if not answer.is_success:
            return await self.turned_down(write, document, answer)
        said = json_of(answer) if answer.content else None
        if isinstance(said, Unknown):
            return said
        record = said if isinstance(said, dict) else None
        return Confirmed(document.number, self.tag(answer, record), record and self.shown(record, document))

    async def _removed(self, write: Write, document: Document) -> Outcome | None:
        match = {"If-Match": write.tag} if write.tag and not write.doubtful and _same(write.confirmed, document) else {}
        answer = await self._sent("DELETE", document, headers=match)
        if not isinstance(answer, httpx.Response):
            return answer
        if answer.is_success and answer.content and isinstance(said := json_of(answer), Unknown):
            return said
        gone = answer.is_success or answer.status_code in _GONE
        if not gone and answer.status_code in self.crossed:  # RFC 9110, 13.1.1: so it may say of a record that is not there
            gone = isinstance(await self._told(document), Absent)
        return None if gone else self._refused(answer)

    def _refused(self, answer: httpx.Response) -> Outcome:
        if answer.status_code in self.crossed:
            return Unknown(f"somebody changed the record there since it was read ({answer.status_code})")
        return Refused(self.refusal(answer))

    # -- reading back ----------------------------------------------------------------------------------------------

    async def read_back(self, batch: Sequence[Write]) -> Sequence[ReadBack]:
        return await self._side_by_side.read_back(self._found, batch)

    async def _found(self, write: Write) -> ReadBack:
        """One record under the number that is wanted, or none at all; anything else has to be written again."""
        told = [(each, await self._told(each)) for each in _named(write)]
        held = [(document, shown) for document, shown in told if not isinstance(shown, Absent)]
        if not held:
            return Absent()
        (document, shown), *others = held
        if others or not (len(told) == 1 or _same(document, write.document)):
            return Untold("there may be records of it under several numbers")
        return shown

    async def _told(self, document: Document) -> ReadBack:
        answer = await self._sent("GET", document)
        if not isinstance(answer, httpx.Response):
            return Untold(answer.reason)
        if answer.status_code in _GONE:
            return Absent()
        said = json_of(answer)
        if not answer.is_success or not isinstance(said, dict):
            return Untold(f"the answer shows no record ({answer.status_code})")
        return Held(self.shown(said, document), document.number, self.tag(answer, said))

    # -- the wire --------------------------------------------------------------------------------------------------

    async def _sent(
        self, method: str, document: Document, *, json: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response | NotDone | Unavailable | Unknown:
        url, template = self.place(document.kind, document.number)
        return await self._exchanged(method, url, template, json=json, headers=headers)

    async def _exchanged(
        self, method: str, url: str, template: str, **content: Any
    ) -> httpx.Response | NotDone | Unavailable | Unknown:
        request = self._access.http.build_request(method, url, extensions={TEMPLATE: template}, **content)
        answer = await exchange(self._access.http, request, self._access.auth, where=self.name)
        return answer if not isinstance(answer, httpx.Response) else self.troubled(answer) or answer

    async def asked(self, what: str, url: str, template: str, fix: str) -> Finding:
        """Ask an address for something, changing nothing, for a `check`: all is well if it answers with it."""
        try:
            answer = await self._exchanged("GET", url, template)
        except MisconfiguredError as error:
            return Finding(f"{what}: {error.what}", False, error.fix)
        if not isinstance(answer, httpx.Response):
            return Finding(f"{what}: {answer.reason}", False, "try again later")
        return Finding(what, True) if answer.is_success else Finding(f"{what}: {answer.status_code}", False, fix)


def _named(write: Write) -> list[Document]:
    """The documents under whose numbers the target may hold something for the subject, the newest first; each number once."""
    known = [write.document, *reversed(write.doubtful), write.confirmed]
    return list({(each.kind, each.number): each for each in reversed(known) if each}.values())[::-1]


def _former(write: Write) -> list[Document]:
    """The documents that shall not be there, under other numbers than the one that is wanted."""
    return [each for each in _named(write) if not _same(each, write.document)]


def _same(one: Document | None, other: Document | None) -> bool:
    return one is not None and other is not None and (one.kind, one.number) == (other.kind, other.number)


def cut(shown: Any, wanted: Any) -> Any:
    """Cut a shown value down to the fields that the wanted value has."""
    if isinstance(shown, dict) and isinstance(wanted, dict):
        return {name: cut(shown[name], value) for name, value in wanted.items() if name in shown}
    return shown
