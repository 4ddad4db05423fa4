"""Operations of SOAP services, against a server that is not ours: whole lists, and a clear error at the smallest scope."""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from lxml import etree
from pydantic import SecretStr

from adapters.kit.rows import row_of
from adapters.kit.soap import Numbered, SoapAdapter, SoapSettings, SoapStream
from adapters.kit.soap_client import SignedBy
from adapters.port import Adapter, Record, Sweep
from adapters.testing import AdapterSuite, Bench
from canonical import Person
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.key import key_of
from canonical.people import Name

if sys.version_info >= (3, 12):
    pytest.skip("spyne, the server of these tests, needs Python 3.11", allow_module_level=True)

from tests.soap_service import SoapService

FIELDS: dict[str, type] = {"id": int, "surname": str, "born": date, "rent": Decimal, "live": bool}


@row_of("items", key="id")
class SoapTenant(NamedTuple):
    id: int
    surname: str
    born: date | None
    rent: Decimal | None
    live: bool | None


def person(source: str, row: SoapTenant) -> Person:
    names = (Name(family=f"{row.surname} {row.rent} {row.live}"),)
    return Person(key=key_of(source, "person", row.id), names=names, birth_date=row.born)


STREAM = SoapStream("tenants", person, "GetItems", "GetItemsResult.Item", paging=Numbered("page", "size"))
WHOLE = SoapStream("tenants", person, "GetItems", "GetItemsResult.Item")


@pytest.fixture(params=["1.1", "1.2"])
def either(request: pytest.FixtureRequest) -> Iterator[SoapService]:
    yield from served(request.param)


@pytest.fixture
def service() -> Iterator[SoapService]:
    yield from served("1.1")


def served(version: str) -> Iterator[SoapService]:
    with SoapService(FIELDS, version).running() as made:
        for number in range(1, 8):
            made.put(number, surname=f"Darby {number}", born=date(1711, 3, 17), rent=Decimal("12.50"), live=number % 2 == 0)
        yield made


def adapter(service: SoapService, stream: SoapStream = STREAM, **given: Any) -> SoapAdapter:
    return SoapAdapter("housing", SoapSettings.model_validate({"url": service.where, "page_size": 3} | given), [stream])


async def read(it: SoapAdapter) -> list[Record]:
    (stream,) = it.streams()
    assert isinstance(stream.reading, Sweep)
    await it.open()
    try:
        return [record async for page in stream.reading.pages(None) for record in page.records]
    finally:
        await it.close()


class TestSoap(AdapterSuite):
    """The four hooks, in spyne."""

    service: SoapService

    @pytest.fixture
    async def adapter(self, service: SoapService) -> AsyncIterator[Adapter]:
        self.service = service
        it = adapter(service)
        yield it
        await it.close()

    async def change_one(self, adapter: Adapter) -> str:
        self.service.put(3, surname="Other")
        return "housing:person:3"

    async def delete_one(self, adapter: Adapter) -> str:
        del self.service.items[4]
        return "housing:person:4"

    async def break_one(self, adapter: Adapter) -> str:
        self.service.put(2, surname="Bad", born=date(1799, 1, 1))
        self.service.spoil = lambda answer: answer.replace(b"1799-01-01", b"some day")
        return "housing:person:2"

    async def mend_it(self, adapter: Adapter) -> None:
        self.service.put(2, surname="Mended")

    async def counted(self, adapter: Adapter) -> Mapping[str, int]:
        return {"tenants": len(self.service.items)}


async def test_both_versions_give_values_as_their_types_say_in_pages_or_at_once(either: SoapService) -> None:
    for stream in (STREAM, WHOLE):
        it = adapter(either, stream)
        records = await read(it)
        assert [record.row[0] for record in records] == [1, 2, 3, 4, 5, 6, 7]
        made = it.streams()[0].map(records[1].row)
        assert isinstance(made, Person)
        assert (made.names[0].family, made.birth_date) == ("Darby 2 12.50 True", date(1711, 3, 17))
        assert [finding.well for finding in await it.check()] == [True]
        await it.close()
    either.items.clear()
    assert await read(adapter(either)) == []


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("Server", UnavailableError, r"GetItems answers with a fault \((Server|Receiver)\)"),
        ("Client.Strange", MisconfiguredError, r"a fault \((Client|Sender)\)"),
        ("Client.Authentication", MisconfiguredError, r"a fault \(Authentication (Client|Sender)\)"),
    ],
)
async def test_a_fault_is_told_by_its_code_and_never_by_its_sentence(
    code: str, error: type[Exception], says: str, either: SoapService, caplog: pytest.LogCaptureFixture
) -> None:
    either.fault = (code, "Abraham Darby of 7 High Street owes 12.50")
    with pytest.raises(error, match=says) as raised:
        await read(adapter(either))
    assert "Darby" not in f"{raised.value!r} {raised.value} {raised.value.__cause__}"
    assert all(record.name.startswith("spyne") for record in caplog.records), "the server is the one that says it"


@pytest.mark.parametrize("harm", ["bomb", "external", "broken", "html", "empty", "large"])
async def test_a_harmful_answer_is_not_read_and_nobody_is_lost(harm: str, service: SoapService) -> None:
    it = adapter(service, max_megabytes=1)
    bench = Bench(it)
    assert len(await bench.read()) == 7
    head = {
        "bomb": b'<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;">]>',
        "external": b'<!DOCTYPE a SYSTEM "file:///etc/passwd">',
    }
    ends = {"broken": b"<a><b></a>", "html": b"<html><body>Sign in</body></html>", "empty": b"", "large": b"a" * (2 << 20)}
    service.spoil = lambda answer: head[harm] + answer.partition(b"?>")[2] if harm in head else ends[harm]
    with pytest.raises((UnavailableError, MisconfiguredError)):
        await read(it)
    service.spoil = bytes
    assert await bench.read() == []
    await it.close()


async def test_a_wsdl_that_has_changed_is_told_before_anything_is_read(service: SoapService) -> None:
    it = adapter(service)
    await read(it)
    asked = service.asked
    service.fields = {"id": int, "surname": str, "date_of_birth": date, "rent": Decimal, "live": bool}
    service.describe()
    with pytest.raises(MisconfiguredError, match="the items of GetItems have no born") as raised:
        await read(it)
    assert "date_of_birth" in str(raised.value)
    assert service.asked == asked
    other = SoapStream("tenants", person, "GetThings", "Item")
    with pytest.raises(MisconfiguredError, match="has no operation GetThings"):
        await read(adapter(service, other))
    given = SoapStream("tenants", person, "GetItems", "GetItemsResult.Item", {"colour": "red"})
    service.fields = FIELDS
    service.describe()
    with pytest.raises(MisconfiguredError, match="cannot be called with colour"):
        await read(adapter(service, given))


def of_token(body: bytes, name: str) -> str:
    found = etree.fromstring(body).find(f".//{{*}}{name}")
    return "" if found is None or found.text is None else found.text


def signed(environ: Mapping[str, Any], body: bytes, way: SignedBy) -> bool:
    """Check the credentials of a call as OASIS' username token profile and RFC 7617 say; anybody may read the WSDL."""
    if environ["REQUEST_METHOD"] == "GET":
        return True
    if way is SignedBy.BASIC:
        return bool(environ.get("HTTP_AUTHORIZATION") == f"Basic {base64.b64encode(b'reader:hush').decode()}")
    expected = "hush"
    if way is SignedBy.DIGEST:
        nonce = base64.b64decode(of_token(body, "Nonce"))
        told = nonce + of_token(body, "Created").encode() + b"hush"
        expected = base64.b64encode(hashlib.sha1(told).digest()).decode()
    token = (of_token(body, "Username"), of_token(body, "Password"))
    return token == ("reader", expected) and "HTTP_AUTHORIZATION" not in environ


@pytest.mark.parametrize("way", SignedBy)
async def test_we_sign_in_as_the_service_asks(way: SignedBy, service: SoapService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service.lets_in = lambda environ, body: signed(environ, body, way)
    given = {"username": "reader", "signed_by": way}
    assert len(await read(adapter(service, password=SecretStr("hush"), **given))) == 7
    with pytest.raises(MisconfiguredError, match="refused our credentials"):
        await read(adapter(service, password=SecretStr("other"), **given))
    assert "hush" not in "".join(record.getMessage() for record in caplog.records if not record.name.startswith("spyne"))


async def test_a_wsdl_of_a_file_is_read_without_asking_and_one_with_entities_is_refused(
    service: SoapService, tmp_path: Path
) -> None:
    kept = tmp_path / "items.wsdl"
    with socket.create_connection(("127.0.0.1", int(service.where.split(":")[2].split("/")[0]))) as asks:
        asks.sendall(b"GET /items?wsdl HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: asks.recv(65536), b"")).partition(b"\r\n\r\n")[2]
    kept.write_bytes(text)
    service.lets_in = lambda environ, _: environ["REQUEST_METHOD"] == "POST"
    assert len(await read(adapter(service, wsdl_file=kept))) == 7
    kept.write_bytes(b'<!DOCTYPE a [<!ENTITY b "b">]>' + text.partition(b"?>")[2])
    with pytest.raises(MisconfiguredError, match=r"its WSDL cannot be read \(DTDForbidden\)"):
        await read(adapter(service, wsdl_file=kept))


async def test_a_service_that_does_not_answer_in_time_is_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {"url": f"http://127.0.0.1:{silent.getsockname()[1]}/", "timeout": timedelta(milliseconds=50)}
        with pytest.raises(UnavailableError, match=r"does not answer \(ReadTimeout\)"):
            await read(SoapAdapter("housing", SoapSettings.model_validate(settings), [STREAM]))
