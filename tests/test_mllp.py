"""HL7 v2 over MLLP, from somebody else's client: what is answered when, and which connections end."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import hl7
import pytest
import trustme
from hl7.client import MLLPClient
from hl7.mllp import open_hl7_connection

from adapters.engine.pump import Pump
from adapters.kit.hl7 import Hl7Message, answer, head_of, insist, text_of
from adapters.kit.mllp import Mllp, MllpSettings
from adapters.port import Gone, Push, Record, Row, Stream
from adapters.testing import Bench, Faults
from canonical import Entity, Person
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.finding import Finding
from canonical.key import key_of
from canonical.people import Name
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store, StoredMemory
from tests.servers import Kafka
from tests.test_pump_servers import committed


def name_of(row: Row) -> Entity:
    number, family = row
    return Person(key=key_of("pas", "person", number), names=(Name(family=family),))


class NamesAdapter:
    """Patients' names, of messages A08 and A28."""

    name = "pas"

    def __init__(self, **given: Any) -> None:
        self.settings = MllpSettings(port=0, **given)
        self.mllp = Mllp(self.name, self.settings, self.read, name_of, wait=0.1)

    def streams(self) -> Sequence[Stream]:
        return [Stream("names", (Person,), name_of, Push(self.mllp.receive))]

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        await self.mllp.close()

    async def check(self) -> Sequence[Finding]:
        return await self.mllp.check()

    async def read(self, message: Hl7Message) -> Sequence[Record | Gone]:
        insist(self.name, message, "ADT", ("A08", "A28"))
        number = text_of(message.field("PID-3"))
        return [Record(key_of(self.name, "person", number), (), (number, text_of(message.field("PID-5"))))] if number else []


class Away(Faults):
    """Kafka is away for the next `times` publications."""

    times = 0

    def point(self, name: str) -> None:
        if name == "publish" and self.times:
            self.times -= 1
            raise UnavailableError("kafka", "is away")


class Running:
    """An adapter and a pump that reads all the time."""

    def __init__(self, adapter: NamesAdapter) -> None:
        self.adapter = adapter
        self.bench = Bench(adapter)
        self.kafka = Away()
        self.writers: list[Any] = []

    async def run(self) -> None:
        pump = self.bench.pump(self.kafka)
        (stream,) = self.adapter.streams()
        while True:
            try:
                await pump.ready()
                await pump.read(stream)
            except UnavailableError:
                await asyncio.sleep(0.02)

    async def connect(self, **given: Any) -> tuple[Any, Any]:
        reader, writer = await open_hl7_connection("127.0.0.1", self.adapter.mllp.port, encoding="utf-8", **given)
        self.writers.append(writer)
        return reader, writer


async def asked_at_last(it: Running, message: str) -> str:
    """Ask over a new connection, as often as it takes until the server has noticed that an old one is closed."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await asked(*await it.connect(), message)
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(**given: Any) -> AsyncIterator[Running]:
    made = Running(NamesAdapter(**given))
    work = asyncio.create_task(made.run())
    async with asyncio.timeout(10):
        while not made.adapter.mllp.port:
            await asyncio.sleep(0.005)
    try:
        yield made
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await made.adapter.close()
        for writer in made.writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in made.writers), return_exceptions=True)


def written(
    number: str, patient: str = "7", family: str = "Darby", event: str = "A08", charset: str = "", kind: str = "P"
) -> str:
    msh = rf"MSH|^~\&|PAS|RXX|Ironbridge|Council|20261127||ADT^{event}|{number}|{kind}|2.4||||||{charset}"
    return f"{msh}\rPID|1||{patient}||{family}\r"


async def asked(reader: Any, writer: Any, message: str | bytes) -> str:
    writer.writeblock(message if isinstance(message, bytes) else message.encode())
    async with asyncio.timeout(10):
        return (await reader.readblock()).decode("latin-1")


def msa(said: str) -> str:
    return next(line for line in said.split("\r") if line.startswith("MSA"))


# -- answers -------------------------------------------------------------------------------------------------------


async def test_a_message_is_accepted_and_what_it_says_is_published_once() -> None:
    async with running() as it:
        reader, writer = await it.connect()
        said = await asked(reader, writer, written("1", family="O\\T\\Brien"))
        head, _ = said.split("\r", 1)
        assert head.split("|")[2:6] == ["Ironbridge", "Council", "PAS", "RXX"]
        assert head.split("|")[8] == "ACK^A08^ACK"
        assert msa(said) == "MSA|AA|1"
        assert msa(await asked(reader, writer, written("1", family="O\\T\\Brien"))) == "MSA|AA|1"
        assert [Person.from_bytes(e.data or b"").names[0].family for e in it.bench.log.told()] == ["O&Brien"]


async def test_a_client_that_blocks_is_served_as_well() -> None:
    async with running() as it:

        def send() -> list[bytes]:
            with MLLPClient("127.0.0.1", it.adapter.mllp.port) as client:
                return [client.send_message(written(str(n), patient=str(n))) for n in range(3)]

        said = await asyncio.to_thread(send)
        assert [hl7.parse(each.decode().strip("\x0b\x1c\r")).segment("MSA")[2][0] for each in said] == ["0", "1", "2"]
        assert len(it.bench.log.told()) == 3


WRONG: list[tuple[str | bytes, str]] = [
    ("what is this", "MSA|AR||MSH: the message does not begin with a segment MSH"),
    ("MSH", "MSA|AR||MSH: the message does not begin with a segment MSH"),
    ("MSH|^~\\&|", "MSA|AR||MSH-10: is empty"),
    ("MSH|^", "MSA|AR||MSH: the message does not begin with a segment MSH"),
    (written("1", kind="T"), "MSA|AR|1|MSH-11: is not P"),
    (written("1").replace("|2.4|", "|3.0|"), "MSA|AR|1|MSH-12: is no version 2"),
    (written("1", event="A99"), "MSA|AR|1|MSH-9: is none of A08, A28"),
    (written("1").replace("ADT^", "ORU^"), "MSA|AR|1|MSH-9: is not ADT"),
    (written("1", charset="BIG-5"), "MSA|AR|1|MSH-18: is none of ASCII, UNICODE UTF-8"),
    (written("1", family="Łukasz", charset="ASCII"), "MSA|AE|1|MSH-18: the message's bytes are not ascii"),
    (written("1", family=""), "MSA|AE|1|family: String should have at least 1 character"),
    (written("1", patient=""), "MSA|AA|1"),
    (written("1", family="x" * 5000), "MSA|AE|1|family: String should have at most 4000 characters"),
    (written("1").replace("|", "!").replace("^~!&", "^~\\&").encode(), "MSA!AA!1"),
]


async def test_a_message_that_is_wrong_is_answered_with_the_reason_and_the_next_one_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as it:
        reader, writer = await it.connect()
        for message, told in WRONG:
            assert msa(await asked(reader, writer, message)).startswith(told)
            assert msa(await asked(reader, writer, written("2", patient="8"))) == "MSA|AA|2"
    assert "Łukasz" not in caplog.text
    assert "xxxx" not in caplog.text
    assert "a message is refused: MSH-11: is not P" in caplog.text


async def test_each_character_set_that_a_message_names_is_read() -> None:
    sets = {"UNICODE UTF-8": "utf-8", "8859/1": "latin-1", "": "cp1252", "8859/15~UNICODE UTF-8": "iso8859-15"}
    async with running(encoding="cp1252") as it:
        reader, writer = await it.connect()
        for charset, encoding in sets.items():
            message = written("é", family="Zoë", charset=charset).encode(encoding)
            said = await asked(reader, writer, message)
            assert msa(said).encode("latin-1").decode(encoding) == "MSA|AA|é"
        assert len(it.bench.log.told()) == 1  # the same each time


def test_an_answer_to_what_is_no_message_is_one_all_the_same() -> None:
    said = answer(head_of(b"\x00"), "AR").decode()
    assert hl7.parse(said).segment("MSA")[1] == ["AR"]


# -- only once it is in Kafka ----------------------------------------------------------------------------------------


async def test_a_message_is_not_answered_while_kafka_is_away_and_published_once_afterwards() -> None:
    async with running() as it:
        reader, writer = await it.connect()
        it.kafka.times = 4
        assert msa(await asked(reader, writer, written("1"))) == "MSA|AA|1"
        assert len(it.bench.log.told()) == 1


async def test_a_message_that_waits_for_kafka_too_long_is_not_answered_and_its_connection_ends() -> None:
    async with running(patience=timedelta(seconds=0.3)) as it:
        it.kafka.times = 10_000
        reader, writer = await it.connect()
        with pytest.raises(asyncio.IncompleteReadError):
            await asked(reader, writer, written("1"))
        it.kafka.times = 0
        reader, writer = await it.connect()
        assert msa(await asked(reader, writer, written("1"))) == "MSA|AA|1"


@pytest.mark.servers
async def test_an_answer_means_that_the_event_is_committed_in_kafka(apache_kafka: Kafka, store: Store) -> None:
    prefix = apache_kafka.prefix().rstrip(".")
    kafka = KafkaSettings(broker="none", bootstrap_servers=apache_kafka.bootstrap, topic_prefix=prefix, partitions=3)
    adapter = NamesAdapter()
    pump = Pump(adapter, KafkaJournal(kafka, adapter.name, [Person]), StoredMemory(store, adapter.name), edition="1")
    await pump.ready()
    (stream,) = adapter.streams()

    async def read() -> None:
        while True:
            await pump.read(stream)

    work = asyncio.create_task(read())
    try:
        async with asyncio.timeout(20):
            while not adapter.mllp.port:
                await asyncio.sleep(0.01)
        reader, writer = await open_hl7_connection("127.0.0.1", adapter.mllp.port, encoding="utf-8")
        for n in range(3):
            assert msa(await asked(reader, writer, written(str(n), patient=str(n)))) == f"MSA|AA|{n}"
        writer.close()
    finally:
        work.cancel()  # at once: nothing that the pump would do later makes an event of what was answered
        await asyncio.gather(work, return_exceptions=True)
        await pump.close()
    async with asyncio.timeout(20):  # a committed transaction is shown once the broker has written its markers
        while len(found := {event.key for event in await committed(kafka, "person")}) < 3:
            await asyncio.sleep(0.05)
    assert found == {f"pas:person:{n}" for n in range(3)}


# -- connections ---------------------------------------------------------------------------------------------------


async def test_many_connections_are_served_at_once_and_each_keeps_its_order() -> None:
    async with running() as it:

        async def send(patient: int) -> None:
            reader, writer = await it.connect()
            for n in range(6):
                said = await asked(reader, writer, written(f"{patient}.{n}", patient=str(patient), family=f"N{n}"))
                assert msa(said) == f"MSA|AA|{patient}.{n}"

        await asyncio.gather(*(send(patient) for patient in range(8)))
        for patient in range(8):
            told = [e.data or b"" for e in it.bench.log.told() if e.key == f"pas:person:{patient}"]
            assert [Person.from_bytes(data).names[0].family for data in told] == [f"N{n}" for n in range(6)]


async def test_several_messages_that_are_sent_without_waiting_are_answered_in_their_order() -> None:
    async with running() as it:
        reader, writer = await it.connect()
        for n in range(5):
            writer.writeblock(written(str(n)).encode())
        said = [(await reader.readblock()).decode() for _ in range(5)]
        assert list(map(msa, said)) == [f"MSA|AA|{n}" for n in range(5)]


async def ended(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(10):
        try:
            return not await reader.read()
        except ConnectionError:
            return True


async def test_a_silent_connection_and_a_half_sent_message_end_in_time() -> None:
    async with running(idle=timedelta(seconds=0.2), deadline=timedelta(seconds=0.2)) as it:
        reader, writer = await it.connect()
        assert await ended(reader)
        reader, writer = await it.connect()
        writer.write(b"\x0bMSH|^~\\&|PAS")
        assert await ended(reader)
        reader, writer = await it.connect()
        writer.write(b"GET / HTTP/1.1\r\n" * 1000)
        assert await ended(reader)
        reader, writer = await it.connect()
        writer.write(b"\x0bMSH|^~\\&|half of it \x0b" + written("1").encode() + b"\x1c\r\r\n")  # and once more, whole
        async with asyncio.timeout(10):
            assert msa((await reader.readblock()).decode()) == "MSA|AA|1"


async def test_a_message_that_is_too_large_is_refused_and_the_next_one_goes_on() -> None:
    async with running(max_kilobytes=1) as it:
        reader, writer = await it.connect()
        for size in (1100, 50_000):
            said = await asked(reader, writer, written("1", family="x" * size))
            assert msa(said) == "MSA|AR|1|the message is larger than 1 kilobytes"
            assert msa(await asked(reader, writer, written("2"))) == "MSA|AA|2"


async def test_more_connections_than_are_allowed_are_turned_away() -> None:
    async with running(connections=2) as it:
        first, second = await it.connect(), await it.connect()
        for each in (first, second):
            assert msa(await asked(*each, written("1"))) == "MSA|AA|1"
        reader, _ = await it.connect()
        assert await ended(reader)
        first[1].close()
        assert msa(await asked_at_last(it, written("1"))) == "MSA|AA|1"


# -- TLS, and the port ---------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    """A server's certificate and key, an authority of senders, and contexts of one with a certificate and one without."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1")
    paths = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "client_authorities")}
    issued.cert_chain_pems[0].write_to_path(paths["certificate"])
    issued.private_key_pem.write_to_path(paths["key"])
    ca.cert_pem.write_to_path(paths["client_authorities"])
    stranger, sender = ssl.create_default_context(), ssl.create_default_context()
    for context in (stranger, sender):
        ca.configure_trust(context)
    ca.issue_cert("pas.example.nhs.uk").configure_cert(sender)
    return {"paths": paths, "stranger": stranger, "sender": sender}


async def test_with_tls_only_senders_with_a_certificate_are_heard(files: dict[str, Any]) -> None:
    async with running(**files["paths"]) as it:
        reader, writer = await it.connect(ssl=files["sender"])
        assert msa(await asked(reader, writer, written("1"))) == "MSA|AA|1"
        for refused in ({"ssl": files["stranger"]}, {}):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await asked(*await it.connect(**refused), written("2"))
        assert len(it.bench.log.told()) == 1


async def test_a_check_tells_whether_the_port_can_be_had_and_who_may_read_along(files: dict[str, Any], tmp_path: Path) -> None:
    async with running() as it:
        port = it.adapter.mllp.port
        adapter = NamesAdapter()
        adapter.mllp = Mllp("pas", MllpSettings(port=port), adapter.read, name_of)
        [found] = await adapter.check()
        assert (found.what, found.well) == (f"cannot listen on 127.0.0.1:{port} (address already in use)", False)
        assert "stop the program that listens there" in found.fix
        assert [each.well for each in await it.adapter.check()] == [True]
        with pytest.raises(UnavailableError, match=f"cannot listen on 127.0.0.1:{port}"):
            await anext(adapter.mllp.receive())
    [found] = await NamesAdapter(host="0.0.0.0").check()
    told = "give `certificate` and `key`: messages about patients cross the network in the clear"
    assert (found.well, found.fix) == (False, told)
    [found] = await NamesAdapter(**files["paths"]).check()
    assert (found.well, found.what) == (True, "127.0.0.1:0 can be listened on, with TLS, from senders with a certificate")
    torn = tmp_path / "torn.pem"
    torn.write_text("-----BEGIN")
    with pytest.raises(MisconfiguredError, match=r"torn\.pem cannot be used for TLS"):
        await NamesAdapter(**files["paths"] | {"certificate": torn}).check()
