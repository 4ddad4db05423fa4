"""
A whole list of a service, read page by page, kept on disk, and given in the order of its keys.

A list may change while it is paged. A record that is met twice counts as it was met last. One that moved to a page that was
read already is not met at all, and looks deleted: so if a list of several pages lacks something that the last one held, or if
there is no last one, it is read once more at once, and only what both lack is missing.
"""

from __future__ import annotations

import json
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import httpx

from adapters.kit.rest_client import RestClient
from adapters.kit.rest_paging import Paging, items_of
from adapters.kit.rows import Field
from adapters.kit.streams import FlatRows, NamedValues
from adapters.kit.typed import UnfitError
from adapters.port import Record
from canonical.errors import MisconfiguredError, UnavailableError

_STALE = 3600.0  # seconds after which a list that was stopped is begun anew: its links may have expired
_EXPIRED = (400, 404, 410)
_DECIMAL = "\0decimal"


@dataclass(frozen=True, slots=True)
class GotPage:
    """One answer of a list (`adapters.kit.rest_paging.RestPage`)."""

    url: httpx.URL
    body: Any
    links: Mapping[str, Mapping[str, str]]
    items: list[Mapping[str, Any]]

    @property
    def count(self) -> int:
        return len(self.items)


@dataclass(slots=True)
class _Fetch:
    """A list that is being read: the next address, and how far it is."""

    url: httpx.URL | None
    round: int
    began: float = field(default_factory=time.monotonic)
    pages: int = 0
    last: list[Mapping[str, Any]] = field(default_factory=list)
    same: int = 0


class RestRows:
    """Makes records of a stream's items. A column may be a path into an item, `Spelt("address.postcode")`."""

    def __init__(self, rows: FlatRows, zone: ZoneInfo, *, omits_empty: bool) -> None:
        self.rows = rows
        self._zone = zone
        self._omits_empty = omits_empty

    def key(self, item: Mapping[str, Any]) -> str:
        """:raises MisconfiguredError: the item has no key."""
        try:
            return self.rows.keys.of(*self.rows.identifiers(lambda its: self._read(item, its, whole=True)))
        except UnfitError as error:
            columns = ", ".join(its.column for its in self.rows.key)
            fix = f"declare the key of {self.rows.row.__name__} as the service has it; without it nobody knows whose item it is"
            where = f"{self.rows.source}.{self.rows.declared.name}"
            raise MisconfiguredError(where, f"an item has no key ({columns}: {error})", fix=fix) from None

    def record(self, item: Mapping[str, Any], *, whole: bool = True) -> Record:
        """Make a record. An item that is not `whole` has the fields that changed, perhaps no others."""
        key = self.key(item)
        return self.rows.record(lambda its: self._read(item, its, whole=whole), (key,))

    def lacking(self, item: Mapping[str, Any]) -> list[str]:
        """The columns that an item does not have."""
        return [its.column for its in self.rows.fields if not _found(item, its)[0]]

    def _read(self, item: Mapping[str, Any], its: Field, *, whole: bool) -> Any:
        there, value = _found(item, its)
        if not there and not (self._omits_empty and whole):
            raise UnfitError("the answer has no such field")
        if isinstance(value, dict | list):
            if its.kind is not object:
                raise UnfitError("is a list or a structure")
            return _settled(value)
        return _local_day(value, self._zone) if its.kind is date and isinstance(value, str) else value


def _found(item: Mapping[str, Any], its: Field) -> tuple[bool, Any]:
    name = NamedValues(item).name(its)
    if name is not None:
        return True, item[name]
    here: Any = item
    for part in its.column.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return isinstance(here, type(None)) and here is not item, None
        here = here[part]
    return True, here


def _local_day(value: str, zone: ZoneInfo) -> str:
    """The day in the source's own zone, if a text says a moment with its zone; else the text as it is."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment.astimezone(zone).date().isoformat() if moment.tzinfo else value


def _settled(value: Any) -> Any:
    """A structure as tuples in the order of its names, so that two reads of it are equal."""
    if isinstance(value, dict):
        return tuple(sorted((name, _settled(each)) for name, each in value.items()))
    return tuple(map(_settled, value)) if isinstance(value, list) else value


class RestList:
    """
    One list of a service. What was read of it is kept in a file that lies in no folder, and ends with this.

    A list that was stopped because the service was away goes on where it stood. A page that the service says is unchanged
    (ETag, 304) is taken as it was.
    """

    def __init__(self, client: RestClient, rows: RestRows, path: str, paging: Paging, items: str) -> None:
        self._client = client
        self._rows = rows
        self._path = path
        self._paging = paging
        self._items = items
        self._fetch: _Fetch | None = None
        self._round = 0  # of the last whole list; 0: there is none
        # On disk once it is large. Python may collect us in any thread, which closes it.
        self._kept = sqlite3.connect("", check_same_thread=False)
        self._kept.executescript(
            "CREATE TABLE items (key TEXT, nth INTEGER, item TEXT, round INTEGER, page INTEGER, PRIMARY KEY (key, nth)) "
            "WITHOUT ROWID; CREATE TABLE pages (url TEXT PRIMARY KEY, tag TEXT, links TEXT, body TEXT, round INTEGER)"
        )
        weakref.finalize(self, self._kept.close)

    async def read(self) -> None:
        """
        Read the list, or the rest of it.

        :raises UnavailableError: the service is away; what was read is kept for the next time.
        """
        first = await self._read_once()
        if first.pages > 1 and self._lacks(first.round):
            await self._read_once()
        self._round = first.round
        for table in ("items", "pages"):
            self._kept.execute(f"DELETE FROM {table} WHERE round < ?", (first.round,))  # noqa: S608 (two names of ours)

    def records(self, after: str, size: int) -> Iterator[list[Record]]:
        """The records behind a key, in the order of their keys, `size` at a time."""
        place = (after, 1 << 30)
        while True:
            found = self._kept.execute(
                "SELECT key, nth, item FROM items WHERE (key, nth) > (?, ?) ORDER BY key, nth LIMIT ?", (*place, size)
            ).fetchall()
            if not found:
                return
            place = found[-1][:2]
            yield [self._rows.record(_loaded(item)) for _, _, item in found]

    async def page(self, url: httpx.URL) -> GotPage:
        """
        Ask for one page.

        :raises UnavailableError: what came is no list, or the link to it has expired.
        """
        kept = self._kept.execute("SELECT tag, links, body FROM pages WHERE url = ?", (str(url),)).fetchone()
        answer = await self._client.get(url, {"If-None-Match": kept[0]} if kept else None)
        number = self._fetch.round if self._fetch else self._round
        if kept and answer.status_code == 304:
            self._kept.execute("UPDATE pages SET round = ? WHERE url = ?", (number, str(url)))
            return self._page(url, _loaded(kept[2]), json.loads(kept[1]))
        if answer.status_code != 200:
            raise self._gone(answer.status_code)
        body, links = self._client.json(answer), dict(answer.links)
        if tag := answer.headers.get("etag"):
            row = (str(url), tag, json.dumps(links), _dumped(body), number)
            self._kept.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?)", row)
        return self._page(url, body, links)

    def _page(self, url: httpx.URL, body: Any, links: Any) -> GotPage:
        items = items_of(body, self._items)
        if items is None:
            what = f"{url.path} answers with something else than a list"
            fix = "look at the answer; if its list has another place, name it in the stream's `items`"
            raise UnavailableError(self._client.where, what, fix=fix)
        return GotPage(url, body, links, list(items))

    def _gone(self, code: int) -> UnavailableError | MisconfiguredError:
        begun = self._fetch is not None and self._fetch.pages > 0
        if begun:
            self._fetch = None
            return UnavailableError(self._client.where, f"does not go on with the list ({code}); it is read from its beginning")
        fix = "check `url`, and the version of the service's API that the adapter was written for"
        return MisconfiguredError(self._client.where, f"has no list at {self._path} ({code})", fix=fix)

    async def _read_once(self) -> _Fetch:
        fetch = self._fetch
        if fetch is None or time.monotonic() - fetch.began > _STALE:
            first = self._paging.first(self._client.url(self._path), self._client.settings.page_size)
            fetch = self._fetch = _Fetch(first, (fetch.round if fetch else self._latest()) + 1)
        while fetch.url is not None:
            page = await self.page(fetch.url)
            self._insist_on_others(fetch, page)
            self._keep(page, fetch)
            link = self._paging.following(page, self._client.settings.page_size)
            fetch.url = None if link is None else self._client.url(str(link), page.url)
            fetch.pages += page.count > 0
        self._fetch = None
        return fetch

    def _insist_on_others(self, fetch: _Fetch, page: GotPage) -> None:
        """:raises MisconfiguredError: the service gives the same page again and again."""
        fetch.same = fetch.same + 1 if page.items and page.items == fetch.last else 0
        fetch.last = page.items
        if fetch.same >= 2:
            fix = "name the parameters by which it pages in the stream's `paging`"
            raise MisconfiguredError(self._client.where, f"{self._path} gives the same page again and again", fix=fix)

    def _latest(self) -> int:
        return int(self._kept.execute("SELECT coalesce(max(round), 0) FROM items").fetchone()[0])

    def _lacks(self, number: int) -> bool:
        """Tell whether this list lacks what the last one held; without a last one, nobody knows."""
        if self._round == 0:
            return True
        return self._kept.execute("SELECT 1 FROM items WHERE round < ? LIMIT 1", (number,)).fetchone() is not None

    def _keep(self, page: GotPage, fetch: _Fetch) -> None:
        """Keep a page's items. Two of one key in one page are two records; in two pages, one that was met twice."""
        met: dict[str, int] = {}
        for item in page.items:
            key = self._rows.key(item)
            nth = met[key] = met.get(key, -1) + 1
            if nth == 0:
                self._kept.execute("DELETE FROM items WHERE key = ?", (key,))
            self._kept.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?)", (key, nth, _dumped(item), fetch.round, fetch.pages))


def _dumped(value: Any) -> str:
    return json.dumps(value, default=lambda number: {_DECIMAL: str(number)})


def _loaded(text: str) -> Any:
    return json.loads(text, object_hook=lambda found: Decimal(found[_DECIMAL]) if found.keys() == {_DECIMAL} else found)
