"""
A service's lists over HTTP as streams: REST with JSON, OData.

An adapter declares its rows (`row_of`), maps each in one function, names both with a path as a `RestStream`, and is a
`RestAdapter`. Each list is read whole, so that every difference is found. A service with delta links is asked for what changed
in between.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from adapters.kit.rest_client import RestClient, RestSettings
from adapters.kit.rest_list import RestList, RestRows
from adapters.kit.rest_paging import ODATA, CursorField, Links, Numbered, Offset, Paging, at, items_of
from adapters.kit.streams import FlatAdapter, Map
from adapters.port import Page, Position, Stream, Sweep, Tail
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from canonical.finding import Finding

log = logging.getLogger(__name__)

__all__ = ["ODATA", "CursorField", "Links", "Numbered", "Offset", "RestAdapter", "RestSettings", "RestStream"]

_LONGEST_LINK = 4000  # characters of a delta link, which is kept as the stream's cursor


@dataclass(frozen=True, slots=True)
class RestStream:
    """
    A stream of the items of one list.

    `map` is a function of a module, `def person(source: str, row: Tenant) -> Person`, as in `adapters.kit.sql.SqlStream`. `path`
    is relative to the address in the settings, with a query if the list needs one. `paging` says how a long list is given,
    `items` where in an answer its items are (empty: the answer is the list). If the service leaves empty fields out of its
    items, say `omits_empty`; else a field that an item lacks quarantines it. `delta` is the path of the first question for
    changes (`@odata.deltaLink`); what it says was removed is found by the sweep. `prefix` is the one of `KeysOf`.
    """

    name: str
    map: Map
    path: str
    paging: Paging = field(default=Links())
    items: str = ""
    omits_empty: bool = False
    delta: str = ""
    prefix: str = ""


class RestAdapter:
    """A service whose lists are read as its streams declare, by a `client`. `name` is the source in every key."""

    def __init__(
        self, name: str, settings: RestSettings, streams: Sequence[RestStream], client: RestClient | None = None
    ) -> None:
        self.name = name
        self.client = client or RestClient(name, settings)
        self._settings = settings
        self._flat = FlatAdapter(name, settings, streams)
        self._declared = {each.name: each for each in streams}
        rows, zone = self._flat.rows, settings.zone
        self._rows = {s.name: RestRows(rows[s.name], zone, omits_empty=s.omits_empty) for s in streams}
        self._lists: dict[str, RestList] = {}

    def streams(self) -> Sequence[Stream]:
        given = {"every": self._settings.every, "pause": self._settings.pause}
        return [self._flat.stream(name, self._reading(name), **given) for name in self._declared]

    async def open(self) -> None:
        await self.client.open()

    async def close(self) -> None:
        await self.client.close()  # a list that was begun is gone on with once it is open again

    async def check(self) -> Sequence[Finding]:
        """Ask for the first page of each list, and look whether its items have the columns."""
        if not self.client.is_open:
            await self.client.open()
        return [await self._looked_at(name) for name in self._declared]

    def _reading(self, name: str) -> Sweep | Tail:
        sweep = Sweep(lambda after: self._sweep(name, after))
        if not self._declared[name].delta:
            return sweep
        return Tail(lambda cursor: self._changes(name, cursor), sweep, self._settings.sweep_every)

    async def _sweep(self, name: str, after: Position | None) -> AsyncIterator[Page]:
        whole = self._list(name)
        await whole.read()
        for records in whole.records(str(after[0]) if after else "", self._settings.page_size):
            yield Page(records, records[-1].position)

    def _list(self, name: str) -> RestList:
        if name not in self._lists:
            declared = self._declared[name]
            self._lists[name] = RestList(self.client, self._rows[name], declared.path, declared.paging, declared.items)
        return self._lists[name]

    async def _changes(self, name: str, cursor: Position | None) -> AsyncIterator[Page]:
        """Ask for what changed since a delta link; None asks for everything, and for the first link."""
        declared = self._declared[name]
        path: str | None = str(cursor[0]) if cursor else declared.delta
        began = cursor is None
        while path is not None:
            answer = await self.client.get(self.client.url(path), {"Prefer": "odata.track-changes"} if began else None)
            if answer.status_code in (400, 404, 410) and not began:
                log.warning("%s.%s: its delta link has expired; all is asked for again", self.name, name)
                path, began = declared.delta, True
                continue
            path, page = self._page(name, answer)
            yield page
            began = False

    def _page(self, name: str, answer: httpx.Response) -> tuple[str | None, Page]:
        """The link to go on with, if there is more, and the records of an answer."""
        declared = self._declared[name]
        if answer.status_code != 200:
            fix = "check the stream's `delta`, and whether the service tracks changes"
            raise MisconfiguredError(self.name, f"has no changes at {declared.delta} ({answer.status_code})", fix=fix)
        body = self.client.json(answer)
        items = items_of(body, declared.items or "value")
        link, further = at(body, "@odata.deltaLink"), at(body, "@odata.nextLink")
        if items is None or not isinstance(further or link, str) or len(further or link) > _LONGEST_LINK:
            raise UnavailableError(self.name, f"{declared.delta} answers with no list of changes, or with no link to go on with")
        there = [item for item in items if not _removed(item)]
        if len(there) < len(items):
            log.info("%s.%s: %d removed; the sweep tells which", self.name, name, len(items) - len(there))
        records = [self._rows[name].record(item, whole=False) for item in there]
        return further, Page(records, (further or link,))

    async def _looked_at(self, name: str) -> Finding:
        declared, what = self._declared[name], f"{self.name}.{name}"
        try:
            url = declared.paging.first(self.client.url(declared.path), self._settings.page_size)
            page = await self._list(name).page(url)
        except IronbridgeError as error:
            return Finding(f"{what}: {error.what}", False, error.fix)
        lacking = set.intersection(*[set(self._rows[name].lacking(item)) for item in page.items]) if page.items else set()
        if lacking and not declared.omits_empty:
            fix = "correct the names in the row class, or say omits_empty=True if the service leaves empty fields out"
            return Finding(f"{what}: no item has {', '.join(sorted(lacking))}", False, fix)
        return Finding(f"{what}: answers with {page.count} items", True)


def _removed(item: Mapping[str, Any]) -> bool:
    return "@removed" in item or "@odata.removed" in item or str(item.get("@odata.context", "")).endswith("$deletedEntity")
