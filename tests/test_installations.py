"""Two installations that share Kafka's topics: one of them runs a part; the other is refused, and hears which one runs it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from canonical.errors import MisconfiguredError
from ironbridge.kafka.claims import KafkaClaims
from ironbridge.kafka.claims_log import Book, InstallationClaim, Knock, record
from ironbridge.kafka.topics import ensure_topics
from ironbridge.settings import KafkaSettings
from ironbridge.store import Store
from ironbridge.store.installation import Installation, installation
from tests.servers import Kafka

PART = "flow/purchasing"


def claim(who: str, place: str = "", part: str = PART) -> InstallationClaim:
    return InstallationClaim(part, who, place, f"{who}'s host", 1_700_000_000.0)


def book_of(*records: tuple[str, InstallationClaim, int]) -> Book:
    book = Book()
    for offset, each in enumerate(records):
        book.apply(offset, record(*each)[1])
    return book


def holder(book: Book) -> str:
    found = book.holder(PART)
    assert found is not None
    return found[1].installation


def test_of_two_claims_that_are_made_at_once_the_first_in_the_log_counts() -> None:
    assert holder(book_of(("claim", claim("one"), -1), ("claim", claim("two"), -1))) == "one"


def test_a_claim_that_takes_the_place_of_the_one_that_counts_is_the_next_to_count() -> None:
    assert holder(book_of(("claim", claim("one"), -1), ("claim", claim("two"), 0), ("claim", claim("three"), 0))) == "two"


def test_a_claim_whose_predecessor_was_compacted_away_counts() -> None:
    assert holder(book_of(("claim", claim("two"), 7), ("claim", claim("one"), 0))) == "one"


def test_records_that_are_none_of_ours_say_nothing() -> None:
    book = book_of(("claim", claim("one"), -1))
    for value in (None, b"", b"{", b"[]", b"7", b'{"kind": "claim"}', json.dumps({"kind": "claim", "to": "x"}).encode()):
        book.apply(9, value)
    assert holder(book) == "one"


def test_a_copy_of_a_state_in_another_database_is_another_installation() -> None:
    assert claim("one", "server/1").same(claim("one", "server/1"))
    assert not claim("one", "server/1").same(claim("one", "server/2"))
    assert claim("one", "server/1").same(claim("one")), "a database that does not tell its name"
    assert not claim("one").same(claim("two"))


def test_a_knock_is_told_with_its_place() -> None:
    heard: list[Knock] = []
    book = Book(knocked=heard.append)
    book.apply(3, record("knock", claim("two"), -1)[1])
    assert heard == [Knock(3, claim("two"))]


async def test_a_state_keeps_its_installation_and_makes_one_where_it_has_none(each_store: Store) -> None:
    known = await installation(each_store)
    assert await installation(each_store) == known
    assert len(known.id) == 32
    assert bool(known.place) != each_store.embedded


# -- on real Kafka ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def kafka(apache_kafka: Kafka) -> KafkaSettings:
    settings = KafkaSettings(
        broker="none",
        bootstrap_servers=apache_kafka.bootstrap,
        topic_prefix=apache_kafka.prefix().rstrip("."),
    )
    await ensure_topics(settings, [])
    return settings


@asynccontextmanager
async def claims(kafka: KafkaSettings, who: str, patience: float = 20.0) -> AsyncIterator[KafkaClaims]:
    opened = KafkaClaims(kafka, Installation(who), f"{who}'s host", patience=patience)
    try:
        yield opened
    finally:
        await opened.close()


async def test_the_second_of_two_living_installations_is_refused_by_name(kafka: KafkaSettings) -> None:
    async with claims(kafka, "production") as first, claims(kafka, "test") as second:
        await first.hold(PART)
        with pytest.raises(MisconfiguredError) as refused:
            await second.hold(PART)
        await first.hold(PART)
        await second.hold("flow/another")
    said = str(refused.value)
    assert said.startswith("flow/purchasing: another installation runs it with these topics: production on production's host")
    assert "`kafka.topic_prefix`" in said


async def test_another_worker_of_the_same_installation_goes_on_at_once(kafka: KafkaSettings) -> None:
    async with claims(kafka, "production") as first, claims(kafka, "production") as second:
        await first.hold(PART)
        await second.hold(PART)
        assert second._book.answers == {}


async def test_the_claim_of_an_installation_that_is_gone_is_taken_over(
    kafka: KafkaSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with claims(kafka, "lost") as first:
        await first.hold(PART)
    async with claims(kafka, "new", patience=0.5) as second:
        await second.hold(PART)
    assert "the installation that had claimed it (lost on lost's host" in caplog.text


async def test_of_installations_that_start_at_once_one_gets_the_part(kafka: KafkaSettings) -> None:
    async def start(opened: KafkaClaims) -> bool:
        try:
            await opened.hold(PART)
        except MisconfiguredError:
            return False
        return True

    async with claims(kafka, "one") as one, claims(kafka, "two") as two, claims(kafka, "three") as three:
        assert sorted(await asyncio.gather(*map(start, (one, two, three)))) == [False, False, True]


async def test_work_ends_once_another_installation_has_taken_the_part_over(kafka: KafkaSettings) -> None:
    """As after a long stall: the other installation got no answer, and took over."""
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async with claims(kafka, "stalled") as first, claims(kafka, "other") as second:
        working = asyncio.create_task(first.while_held(PART, work))
        await asyncio.wait_for(started.wait(), 30)
        await second.hold("flow/another")
        stands = first._book.holder(PART)
        assert stands is not None
        await second._write("claim", second._claim_of(PART), stands[0])
        with pytest.raises(MisconfiguredError, match="other on other's host"):
            await asyncio.wait_for(working, 30)


async def test_work_that_ends_or_fails_by_itself_does_so(kafka: KafkaSettings) -> None:
    async def fails() -> None:
        raise LookupError

    async def ends() -> None: ...

    async with claims(kafka, "one") as one:
        await one.while_held(PART, ends)
        with pytest.raises(LookupError):
            await one.while_held(PART, fails)
