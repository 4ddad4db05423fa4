"""Lists of services over HTTP: whole, in order, and never short of a record that is there."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

import httpx
import pytest
from pydantic import SecretStr, ValidationError
from starlette.responses import JSONResponse, Response

from adapters.kit.rest import ODATA, CursorField, Links, Numbered, Offset, RestAdapter, RestSettings, RestStream
from adapters.kit.rows import Spelt, row_of
from adapters.port import Adapter, Record, Sweep, Tail
from adapters.testing import AdapterSuite, Bench
from adapters.testing.rest_service import RestService, half, html
from canonical import Person
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.key import key_of
from canonical.people import Name


@row_of("tenants", key="id")
class Tenant(NamedTuple):
    id: int
    surname: str
    born: date | None


def person(source: str, row: Tenant) -> Person:
    return Person(key=key_of(source, "person", row.id), names=(Name(family=row.surname),), birth_date=row.born)


NUMBERED = RestStream("tenants", person, "tenants", Numbered())
LINKED = RestStream("tenants", person, "odata/Tenants", ODATA, items="value")
DELTA = RestStream("tenants", person, "odata/Tenants", ODATA, items="value", delta="odata/delta")


@pytest.fixture
async def service() -> AsyncIterator[RestService]:
    async with RestService().running() as made:
        for number in range(1, 8):
            made.put(number, surname=f"Darby {number}", born="1711-03-17")
        yield made


def adapter(service: RestService, stream: RestStream = NUMBERED, **given: Any) -> RestAdapter:
    return RestAdapter("housing", RestSettings(url=service.url, page_size=given.pop("size", 3), **given), [stream])


async def read(it: RestAdapter) -> list[Record]:
    (stream,) = it.streams()
    sweep = stream.reading
    assert isinstance(sweep, Sweep | Tail)
    sweep = sweep.sweep if isinstance(sweep, Tail) else sweep
    return [record async for page in sweep.pages(None) for record in page.records]


def numbers(records: list[Record]) -> list[Any]:
    return [record.row[0] for record in records]


@asynccontextmanager
async def opened(it: RestAdapter) -> AsyncIterator[RestAdapter]:
    await it.open()
    try:
        yield it
    finally:
        await it.close()


class ServiceSuite(AdapterSuite):
    """The four hooks, in the stand-in."""

    __test__ = False
    stream = NUMBERED
    service: RestService

    @pytest.fixture
    async def adapter(self, service: RestService) -> AsyncIterator[Adapter]:
        self.service = service
        it = adapter(service, self.stream)
        yield it
        await it.close()

    async def change_one(self, adapter: Adapter) -> str:
        self.service.put(3, surname="Other", born=None)
        return "housing:person:3"

    async def delete_one(self, adapter: Adapter) -> str:
        self.service.take(4)
        return "housing:person:4"

    async def break_one(self, adapter: Adapter) -> str:
        self.service.put(2, surname=["a", "list"], born=None)
        return "housing:person:2"

    async def mend_it(self, adapter: Adapter) -> None:
        self.service.put(2, surname="Mended", born=None)

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        return {"tenants": len(self.service.items)}


class TestNumberedPages(ServiceSuite):
    __test__ = True


class TestLinkedPages(ServiceSuite):
    __test__ = True
    stream = LINKED


class TestDeltaLinks(ServiceSuite):
    __test__ = True
    stream = DELTA


# -- a list that changes while it is paged ---------------------------------------------------------------------------


async def test_a_record_that_moves_to_a_page_that_was_read_already_is_not_missing(service: RestService) -> None:
    async with opened(adapter(service)) as it:
        assert numbers(await read(it)) == [1, 2, 3, 4, 5, 6, 7]
        taken = iter([1])

        def shift() -> None:
            for number in taken:
                service.take(number)  # record 4 moves to the first page, which was read

        service.between = shift
        assert numbers(await read(it)) == [1, 2, 3, 4, 5, 6, 7]  # the first of the two lists still held the deleted one
        assert numbers(await read(it)) == [2, 3, 4, 5, 6, 7]


async def test_so_it_is_at_the_first_reading_of_a_process(service: RestService) -> None:
    taken = iter([1])
    service.between = lambda: [service.take(number) for number in taken] and None
    async with opened(adapter(service)) as it:
        assert set(numbers(await read(it))) >= {2, 3, 4, 5, 6, 7}


async def test_a_record_that_is_met_twice_counts_as_it_was_met_last(service: RestService) -> None:
    made = iter([0])

    def shift() -> None:
        for number in made:
            service.put(number, surname="New", born=None)
            service.put(3, surname="Changed", born=None)

    service.between = shift
    async with opened(adapter(service)) as it:
        found = {record.row[0]: record.row[1] for record in await read(it)}
        assert len(await read(it)) == 8
    assert found[3] == "Changed"
    assert len(found) >= 7


async def test_nothing_is_read_twice_while_nothing_seems_missing(service: RestService) -> None:
    async with opened(adapter(service)) as it:
        await read(it)
        service.asked.clear()
        service.put(8, surname="New", born=None)
        assert len(await read(it)) == 8
        assert service.asked == [f"/tenants?page={page}&per_page=3" for page in (1, 2, 3, 4)]


async def test_two_items_of_one_key_in_one_page_are_two_records(service: RestService) -> None:
    service.faults.append(JSONResponse([{"id": 1, "surname": "A", "born": None}, {"id": 1, "surname": "B", "born": None}]))
    service.items.clear()
    async with opened(adapter(service)) as it:
        assert [record.row[1] for record in await read(it)] == ["A", "B"]


# -- answers that are none -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (html(), "answers 200, but not with JSON (text/html)"),
        (half([{"id": 1}, {"id": 2}]), "answers 200, but not with JSON (application/json)"),
        (JSONResponse({"error": "no"}), "/tenants answers with something else than a list"),
        (JSONResponse([1, 2]), "/tenants answers with something else than a list"),
        (JSONResponse({}, 500), "answers 500"),
        (Response(status_code=502), "answers 502"),
    ],
)
async def test_an_answer_that_is_no_list_deletes_nothing(service: RestService, fault: Response, told: str) -> None:
    bench = Bench(adapter(service))
    pump = bench.pump()
    assert len(await bench.read(pump)) == 7
    for place in range(4):
        service.faults.extend([*[None] * place, fault])
        with pytest.raises(UnavailableError) as error:
            await bench.read(pump)
        assert error.value.what == told
        service.faults.clear()
        assert await bench.read(pump) == []
    await pump.close()


async def test_a_list_that_was_stopped_goes_on_where_it_stood(service: RestService) -> None:
    async with opened(adapter(service)) as it:
        service.faults.extend([None, None, html()])
        with pytest.raises(UnavailableError):
            await read(it)
        await it.close()
        await it.open()
        service.asked.clear()
        assert len(await read(it)) == 7
    assert service.asked[0] == "/tenants?page=3&per_page=3"


async def test_a_link_that_has_expired_begins_the_list_again(service: RestService) -> None:
    async with opened(adapter(service, LINKED)) as it:
        service.faults.extend([None, JSONResponse({}, 410)])
        with pytest.raises(UnavailableError, match="does not go on with the list"):
            await read(it)
        assert len(await read(it)) == 7


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (JSONResponse({}, 403), "does not allow us this (403)"),
        (JSONResponse({}, 404), "has no list at tenants (404)"),
        (Response(status_code=302, headers={"Location": "/login"}), "the address answers with a redirect (302)"),
        (JSONResponse([{"surname": "A"}]), "an item has no key (id: the answer has no such field)"),
    ],
)
async def test_what_a_person_has_to_mend_is_said(service: RestService, fault: Response, told: str) -> None:
    service.faults.append(fault)
    async with opened(adapter(service)) as it:
        with pytest.raises(MisconfiguredError) as error:
            await read(it)
    assert error.value.what == told


async def test_a_service_that_gives_the_same_page_again_and_again_is_named(service: RestService) -> None:
    stream = RestStream("tenants", person, "odata/Tenants", Numbered(), items="value")
    async with opened(adapter(service, stream)) as it:
        with pytest.raises(MisconfiguredError, match="gives the same page again and again"):
            await read(it)


async def test_a_link_to_another_service_is_not_followed(service: RestService) -> None:
    service.faults.append(JSONResponse({"value": [], "@odata.nextLink": "http://127.0.0.2/steal"}))
    async with opened(adapter(service, LINKED)) as it:
        with pytest.raises(MisconfiguredError, match="to which our credentials do not go"):
            await read(it)


async def test_a_service_that_is_away_is_unavailable() -> None:
    it = RestAdapter("housing", RestSettings(url="http://127.0.0.1:1"), [NUMBERED])
    async with opened(it):
        with pytest.raises(UnavailableError, match="does not answer"):
            await read(it)
        (finding,) = await it.check()
        assert not finding.well


# -- what the service asks for ---------------------------------------------------------------------------------------


async def test_nothing_is_sent_while_the_service_wants_to_be_left_alone(
    service: RestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.faults.append(JSONResponse({}, 429, {"Retry-After": "7200"}))
    async with opened(adapter(service, longest_wait=timedelta(seconds=900))) as it:
        with pytest.raises(UnavailableError, match="answers 429, and asks to be left alone for 900 seconds"):
            await read(it)
        with pytest.raises(UnavailableError, match=r"asked to be left alone for \d+ more seconds"):
            await read(it)
        assert len(service.asked) == 1
        later = time.monotonic() + 901
        monkeypatch.setattr("adapters.kit.rest_client.time", SimpleNamespace(monotonic=lambda: later))
        assert len(await read(it)) == 7


async def test_pages_that_did_not_change_are_not_sent_again(service: RestService) -> None:
    service.tags = True
    async with opened(adapter(service)) as it:
        first = await read(it)
        service.unchanged = 0
        assert await read(it) == first
        assert service.unchanged == 4
        service.put(2, surname="Other", born=None)
        assert [record.row[1] for record in await read(it)][1] == "Other"
        assert service.unchanged == 7


# -- signing in ------------------------------------------------------------------------------------------------------


async def test_we_sign_in_with_a_token_and_get_a_new_one_once_it_has_expired(service: RestService) -> None:
    ways = {"token_url": f"{service.url}/token", "client_id": "us", "client_secret": SecretStr("s3cret")}
    service.headers = {"authorization": "none yet"}
    async with opened(adapter(service, **ways)) as it:
        assert len(await read(it)) == 7
        service.headers = {"authorization": "Bearer another"}
        assert len(await read(it)) == 7
        assert service.tokens == 2
    async with opened(adapter(service, **ways | {"client_secret": SecretStr("wrong")})) as it:
        with pytest.raises(MisconfiguredError) as error:
            await read(it)
    assert error.value.what == "the token endpoint says 401: invalid_client"
    assert "IRONBRIDGE_ADAPTERS__HOUSING__CLIENT_SECRET" in error.value.fix


@pytest.mark.parametrize(
    ("ways", "header", "value"),
    [
        ({"api_key": SecretStr("k3y"), "api_key_header": "Ocp-Apim-Subscription-Key"}, "ocp-apim-subscription-key", "k3y"),
        ({"username": "us", "password": SecretStr("p")}, "authorization", "Basic dXM6cA=="),
    ],
)
async def test_we_sign_in_with_a_key_or_a_password(service: RestService, ways: Any, header: str, value: str) -> None:
    service.headers = {header: value}
    async with opened(adapter(service, **ways)) as it:
        assert len(await read(it)) == 7
    async with opened(adapter(service)) as it:
        with pytest.raises(MisconfiguredError, match="refused our credentials"):
            await read(it)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"api_key": "k", "username": "u", "password": "p"}, "gives more than one way to sign in"),
        ({"client_id": "us"}, "token_url, client_id and client_secret go together"),
        ({"url": "http://example.org"}, "is not https"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(given: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RestSettings(**{"url": "https://housing.example"} | given)


# -- deltas ----------------------------------------------------------------------------------------------------------


async def changes(it: RestAdapter, cursor: Any) -> tuple[list[Record], Any]:
    (stream,) = it.streams()
    assert isinstance(stream.reading, Tail)
    pages = [page async for page in stream.reading.pages(cursor)]
    return [record for page in pages for record in page.records], pages[-1].cursor


async def test_a_delta_link_gives_what_changed_and_is_asked_anew_once_it_has_expired(service: RestService) -> None:
    async with opened(adapter(service, DELTA)) as it:
        first, cursor = await changes(it, None)
        assert len(first) == 7
        assert sorted(first) == await read(it)
        service.put(3, surname="Other", born=None)
        service.take(4)
        some, further = await changes(it, cursor)
        assert [record.row for record in some] == [(3, "Other", None)]
        assert await changes(it, further) == ([], further)
        service.changes.clear()
        again, _ = await changes(it, further)
        assert len(again) == 6


async def test_an_item_of_a_delta_that_lacks_a_field_is_not_taken_for_an_empty_one(service: RestService) -> None:
    stream = RestStream("tenants", person, "odata/Tenants", ODATA, "value", omits_empty=True, delta="odata/delta")
    bench = Bench(adapter(service, stream))
    pump = bench.pump()
    assert len(await bench.read(pump)) == 7
    service.changes.append({"id": 3, "born": "1711-03-17"})
    assert await bench.read(pump) == []
    await pump.close()
    assert list(bench.problems()) == ["housing:person:3"]


# -- rows ------------------------------------------------------------------------------------------------------------


@row_of("tenants", key="id")
class Deep(NamedTuple):
    id: int
    postcode: Annotated[str | None, Spelt("address.postcode")]
    rent: Decimal | None
    born: date | None
    all: Any


def deep(source: str, row: Deep) -> Person:
    return Person(key=key_of(source, "person", row.id), birth_date=row.born)


async def test_a_field_may_lie_within_another_and_numbers_are_exact(service: RestService) -> None:
    item = '[{"id": 1, "address": {"postcode": "SY1"}, "rent": 0.10, "born": "1980-04-30T23:00:00Z", "all": {"b": [1], "a": 2}}]'
    service.faults.append(Response(item, media_type="application/json"))
    async with opened(adapter(service, RestStream("tenants", deep, "tenants"))) as it:
        (record,) = await read(it)
    assert record.row == (1, "SY1", Decimal("0.10"), "1980-05-01", (("a", 2), ("b", (1,))))


async def test_a_check_names_a_column_that_no_item_has(service: RestService) -> None:
    async with opened(adapter(service)) as it:
        assert [finding.what for finding in await it.check()] == ["housing.tenants: answers with 3 items"]
    async with opened(adapter(service, RestStream("tenants", deep, "tenants", Numbered()))) as it:
        (finding,) = await it.check()
    assert finding.what == "housing.tenants: no item has address.postcode, all, rent"


# -- a server that is not ours ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def datasette(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A running Datasette, and its database: it pages by key, with `next` in the body or a `Link` header."""
    file = tmp_path_factory.mktemp("datasette") / "housing.db"
    sqlite3.connect(file).close()
    command = [sys.executable, "-m", "datasette", "serve", str(file), "--create", "--host", "127.0.0.1", "--port", "0"]
    with (file.parent / "log").open("w+b") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        until = time.monotonic() + 60
        while not (found := re.search(rb"running on (http://[0-9.:]+)", (file.parent / "log").read_bytes())):
            assert time.monotonic() < until, "datasette does not begin"
            time.sleep(0.05)
        yield found[1].decode(), file
        process.terminate()


PAGINGS = {
    "link header": RestStream("tenants", person, "housing/tenants.json?_shape=array", Links(size="_size")),
    "cursor": RestStream(
        "tenants", person, "housing/tenants.json?_shape=objects", CursorField("next", "_next", "_size"), items="rows"
    ),
    "link in the body": RestStream(
        "tenants", person, "housing/tenants.json?_shape=objects", Links("next_url", size="_size"), items="rows"
    ),
}


@pytest.mark.servers
@pytest.mark.parametrize("how", PAGINGS)
class TestDatasette(AdapterSuite):
    """A table of SQLite, as Datasette serves it."""

    database: sqlite3.Connection

    @pytest.fixture
    async def adapter(self, datasette: tuple[str, Path], how: str) -> AsyncIterator[Adapter]:
        url, file = datasette
        self.database = sqlite3.connect(file, isolation_level=None)
        self.database.execute("DROP TABLE IF EXISTS tenants")
        self.database.execute("CREATE TABLE tenants (id INTEGER PRIMARY KEY, surname TEXT, born TEXT)")
        self.database.executemany("INSERT INTO tenants VALUES (?, ?, ?)", [(n, f"Darby {n}", "1711-03-17") for n in range(1, 8)])
        it = RestAdapter("housing", RestSettings(url=url, page_size=3), [PAGINGS[how]])
        yield it
        await it.close()
        self.database.close()

    async def change_one(self, adapter: Adapter) -> str:
        self.database.execute("UPDATE tenants SET surname = 'Other' WHERE id = 3")
        return "housing:person:3"

    async def delete_one(self, adapter: Adapter) -> str:
        self.database.execute("DELETE FROM tenants WHERE id = 4")
        return "housing:person:4"

    async def break_one(self, adapter: Adapter) -> str:
        self.database.execute("UPDATE tenants SET surname = NULL WHERE id = 2")
        return "housing:person:2"

    async def mend_it(self, adapter: Adapter) -> None:
        self.database.execute("UPDATE tenants SET surname = 'Mended' WHERE id = 2")

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        return {"tenants": self.database.execute("SELECT count(*) FROM tenants").fetchone()[0]}


async def test_offsets_and_cursors_are_followed_to_an_empty_page() -> None:
    url = httpx.URL("http://x/list?kind=a")
    first = Offset().first(url, 50)
    assert str(first) == "http://x/list?kind=a&offset=0&limit=50"

    class Got(NamedTuple):
        url: httpx.URL
        body: Any
        links: Any
        count: int

    assert str(Offset().following(Got(first, [], {}, 20), 50)) == "http://x/list?kind=a&offset=20&limit=50"
    assert Offset().following(Got(first, [], {}, 0), 50) is None
    cursor = CursorField("meta.next", "after")
    assert str(cursor.following(Got(url, {"meta": {"next": "b"}}, {}, 1), 50)) == "http://x/list?kind=a&after=b"
    assert cursor.following(Got(url, {"meta": {"next": None}}, {}, 1), 50) is None
