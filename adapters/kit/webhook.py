"""
Webhooks as the source of pushed streams: a sender gets its 200 once the events of what it sent are in Kafka.

An adapter declares its rows (`row_of`), maps each in one function, names both as a `WebhookStream`, and is a `WebhookAdapter`.
Each stream has an address of its own, `POST /NAME`. A body is a JSON object or a list of them, a CloudEvent (structured, binary
or a batch), or an event as Standard Webhooks has it, with `type` and `data`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

from pydantic import Field

from adapters.engine.mapping import mapped_or_bad
from adapters.kit.http_in import CameIn, HttpConversation, Said
from adapters.kit.listener import Listener, ListenerSettings
from adapters.kit.rest_list import RestRows
from adapters.kit.rest_paging import at
from adapters.kit.row_settings import RowSettings
from adapters.kit.streams import FlatAdapter, Map
from adapters.kit.typed import UnfitError
from adapters.kit.webhook_signatures import SignatureSettings
from adapters.port import Gone, Parcel, Position, Push, Record, Stream
from canonical.errors import BadRecordError, MisconfiguredError
from canonical.finding import Finding

log = logging.getLogger(__name__)

__all__ = ["SignatureSettings", "WebhookAdapter", "WebhookSettings", "WebhookStream"]

_MOST = 5000  # words of one parcel


class WebhookSettings(RowSettings, ListenerSettings):
    """
    These settings say where webhooks come in (see `adapters.kit.listener`), and how they are signed.

    A webhook that is not in Kafka after `patience` is answered with 503, and its sender sends it again.
    """

    signature: SignatureSettings = Field(default_factory=SignatureSettings)


@dataclass(frozen=True, slots=True)
class WebhookStream:
    """
    A stream of the records that a sender posts to `/NAME`.

    `map` is a function of a module, `def person(source: str, row: Tenant) -> Person`, as in `adapters.kit.sql.SqlStream`. `item`
    is where in an event its record is (a path with dots; empty: the event is the record), `type` where it says what happened:
    a path, or `header:X-GitHub-Event`. Only types in `takes` are taken in, if it names any; others are answered with 200 and
    left. A record whose event is of a type in `deleted` was deleted. `position` is where in an event stands what grows with
    each change of a record (a version, a sequence number): without it, what is sent again late brings old content back. Without
    an `item`, the record of a CloudEvent is its `data`. `omits_empty` and `prefix` are `RestStream`'s.
    """

    name: str
    map: Map
    item: str = ""
    type: str = "type"
    takes: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    position: str = ""
    omits_empty: bool = False
    prefix: str = ""


class UnreadableWebhookError(ValueError):
    """A webhook cannot be read. The text says why, and quotes nothing of the webhook."""


@dataclass(eq=False)
class _Awaiting:
    """The words of one request await Kafka: `told` becomes the keys of those that are in quarantine."""

    words: Sequence[Record | Gone]
    told: asyncio.Future[Collection[str]] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Intake:
    """The requests of one stream that were not answered yet."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._waiting: list[_Awaiting] = []
        self._came = asyncio.Event()

    async def taken(self, words: Sequence[Record | Gone], patience: float) -> Collection[str] | None:
        """Wait until the words are in Kafka: the keys of those in quarantine; None if it takes too long."""
        awaiting = _Awaiting(words)
        self._waiting.append(awaiting)
        self._came.set()
        try:
            async with asyncio.timeout(patience):
                return await awaiting.told
        except TimeoutError:
            return None
        finally:
            self._forget(awaiting)

    async def receive(self) -> AsyncGenerator[Parcel, None]:
        while taken := await self._next():
            yield Parcel([word for each in taken for word in each.words], partial(self._published, taken))
            if not all(each.told.done() for each in taken):
                return  # nobody answered them

    async def _next(self) -> list[_Awaiting]:
        """Wait a little for requests; the first of those that wait, and as many more as one parcel may have."""
        if not self._waiting:
            self._came.clear()
            try:
                async with asyncio.timeout(self._wait):
                    await self._came.wait()
            except TimeoutError:
                return []
        taken, words = self._waiting[:1], len(self._waiting[0].words) if self._waiting else 0
        for each in self._waiting[1:]:
            words += len(each.words)
            if words > _MOST:
                break
            taken.append(each)
        return taken

    async def _published(self, taken: Sequence[_Awaiting], bad: Collection[str]) -> None:
        for each in taken:
            if not each.told.done():
                each.told.set_result(bad)
            self._forget(each)

    def _forget(self, awaiting: _Awaiting) -> None:
        if awaiting in self._waiting:
            self._waiting.remove(awaiting)


class WebhookAdapter:
    """
    A system that posts its changes. `name` is the source in every key; `wait` is the time in seconds after which nothing comes
    for the moment. It listens once a stream is asked for what has come, so that an adapter that is only looked at takes no port.
    """

    def __init__(self, name: str, settings: WebhookSettings, streams: Sequence[WebhookStream], *, wait: float = 5.0) -> None:
        self.name = name
        self._settings = settings
        self._flat = FlatAdapter(name, settings, streams)
        self._declared = {each.name: each for each in streams}
        rows, zone = self._flat.rows, settings.zone
        self._rows = {s.name: RestRows(rows[s.name], zone, omits_empty=s.omits_empty) for s in streams}
        self._intakes = {each.name: _Intake(wait) for each in streams}
        self._streams = {each: self._flat.stream(each, Push(partial(self._receive, each))) for each in self._declared}
        self.listener = Listener(name, settings, HttpConversation(settings, self._answer), "people")

    def streams(self) -> Sequence[Stream]:
        return list(self._streams.values())

    async def open(self) -> None:
        """Do nothing: the port is taken when something is asked for, and not by a check."""

    async def close(self) -> None:
        await self.listener.close()

    async def check(self) -> Sequence[Finding]:
        s = self._settings
        signed = "" if s.signature.scheme == "none" else ", from senders who sign"
        findings = await self.listener.check(signed)
        if not signed and s.client_authorities is None:
            fix = "give `signature` a scheme and secrets, or let senders show certificates (`client_authorities`)"
            findings.append(Finding("anybody who reaches the port may send records", False, fix))
        return findings

    async def _receive(self, name: str) -> AsyncGenerator[Parcel, None]:
        await self.listener.listen()
        async for parcel in self._intakes[name].receive():
            yield parcel

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _answer(self, request: CameIn) -> Said:
        name = request.path.strip("/")
        if name not in self._declared:
            return Said(404, f"there is no stream here; there are {', '.join(f'/{each}' for each in self._declared)}")
        if request.method != "POST":
            return Said(405, "webhooks are posted", {"Allow": "POST"})
        if (fault := self._settings.signature.fault(request.headers, request.body)) is not None:
            return self._refused(name, 401, fault)
        try:
            words = [word for event in events_of(request) if (word := self._word(name, event, request)) is not None]
        except UnreadableWebhookError as error:
            return self._refused(name, 400, str(error))
        if not words:
            return Said(200, "there is nothing to take in")
        return await self._taken(name, words)

    async def _taken(self, name: str, words: Sequence[Record | Gone]) -> Said:
        patience = self._settings.patience.total_seconds()
        bad = await self._intakes[name].taken(words, patience)
        if bad is None:
            log.warning("%s.%s: a webhook is answered with 503: it is not in Kafka in time", self.name, name)
            return Said(503, "it cannot be taken in now", {"Retry-After": str(max(int(patience), 1))})
        faults = [self._fault(name, word) for word in words if isinstance(word, Record) and word.key in bad]
        return self._refused(name, 422, "; ".join(faults)) if faults else Said(200, f"{len(words)} taken in")

    def _fault(self, name: str, record: Record) -> str:
        try:
            mapped_or_bad(record.key, self._streams[name], record)
        except BadRecordError as error:
            return f"{error.field}: {error.rule}"
        return "the record cannot be published"

    def _refused(self, name: str, status: int, why: str) -> Said:
        log.warning("%s.%s: a webhook is answered with %d: %s", self.name, name, status, why)
        return Said(status, why)

    def _word(self, name: str, event: Mapping[str, Any], request: CameIn) -> Record | Gone | None:
        """
        The word of one event; None if it is of a type that is not taken in.

        :raises UnreadableWebhookError: its record is not where it should be, or has no key.
        """
        declared = self._declared[name]
        header = declared.type.removeprefix("header:")
        kind = request.headers.get(header.lower()) if header != declared.type else at(event, declared.type)
        if declared.takes and kind not in declared.takes | declared.deleted:
            return None
        item = at(event, declared.item or ("data" if "specversion" in event else ""))
        if not isinstance(item, Mapping):
            raise UnreadableWebhookError(f"there is no object at `{declared.item or 'data'}`")
        try:
            key, position = self._rows[name].key(item), _position(event, declared.position)
            if kind in declared.deleted:
                return Gone(key, position)
            return self._rows[name].record(item)._replace(position=position)
        except (MisconfiguredError, UnfitError) as error:
            raise UnreadableWebhookError(error.what if isinstance(error, MisconfiguredError) else str(error)) from None


def _position(event: Mapping[str, Any], path: str) -> Position:
    """:raises UnfitError: there is nothing by which it could be told from what is sent late."""
    if not path:
        return ()
    found = at(event, path)
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise UnfitError(f"there is no number or text at `{path}`, and so nobody knows whether it is new")
    return (found,)


def events_of(request: CameIn) -> list[Mapping[str, Any]]:
    """
    The events in a body: one object, or several. A CloudEvent in binary mode, whose attributes are headers, is given as if it
    had come in structured mode (https://github.com/cloudevents/spec, HTTP protocol binding).

    :raises UnreadableWebhookError: the body is not JSON, or holds something else than objects.
    """
    try:
        body = json.loads(request.body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise UnreadableWebhookError("the body is not JSON") from None
    if "ce-specversion" in request.headers:
        attributes = {name[3:]: value for name, value in request.headers.items() if name.startswith("ce-")}
        return [attributes | {"data": body}]
    events = body if isinstance(body, list) else [body]
    if not all(isinstance(each, Mapping) for each in events):
        raise UnreadableWebhookError("the body is no object, and no list of objects")
    return events
