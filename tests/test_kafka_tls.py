"""Kafka over TLS, against Apache Kafka with TLS on: what gets through, and what each thing that is wrong is called."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from cryptography.hazmat.primitives.asymmetric import rsa

from adapters.engine.journal import Partition
from canonical import Event, Person
from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from canonical.event import topic_of
from flows.engine.ledger import Stand
from ironbridge.kafka.consumer import consumer
from ironbridge.kafka.inbox import KafkaInbox
from ironbridge.kafka.journal import KafkaJournal
from ironbridge.kafka.process import HOST
from ironbridge.kafka.topics import answers, ensure_topics
from ironbridge.settings import KafkaSettings
from tests.secure_kafka import PASSWORD, Secure
from tests.servers import certified

KEY = "liquidlogic:person:1"


@pytest.fixture
def kafka(secure_kafka: Secure) -> Secure:
    return secure_kafka


class Nothing:
    """A state that has nothing yet."""

    async def ingested(self) -> dict[Partition, Stand]:
        return {}

    async def forgotten(self, until: Mapping[Partition, int]) -> None:
        raise AssertionError("nothing was there to be forgotten")


async def carried(settings: KafkaSettings) -> list[str]:
    """What a flow receives of what an adapter has published, both connected by these settings."""
    await ensure_topics(settings, [Person])
    event = Event("person", "liquidlogic", KEY, KEY, 1, datetime.now(UTC), b'{"key":"liquidlogic:person:1"}', "person")
    journal = KafkaJournal(settings, "liquidlogic", [Person])
    await journal.open()
    try:
        await journal.publish([event], ("person", {"after": 1}))
    finally:
        await journal.close()
    async with KafkaInbox(settings, "dfe_csc", [Person], Nothing(), "w1") as inbox:
        for _ in range(150):
            if found := (await inbox.poll()).events:
                return [got.id for got, _ in found]
    return []


async def refusal(settings: KafkaSettings) -> IronbridgeError:
    with pytest.raises(IronbridgeError) as raised:
        await answers(settings)
    await asyncio.sleep(0.1)  # aiokafka lets go of its sockets a moment after it has failed
    assert PASSWORD not in str(raised.value)
    return raised.value


def token_file(folder: Path, token: str) -> dict[str, Any]:
    file = folder / "token"
    file.write_text(token + "\n", encoding="ascii")
    return {"sasl_mechanism": "OAUTHBEARER", "oauth_token_file": str(file), "username": None, "password": None}


async def test_events_are_published_and_consumed_by_scram_over_tls(kafka: Secure) -> None:
    assert await carried(kafka.broker.settings(topic_prefix="scram")) == [f"{KEY}@1"]


async def test_events_are_published_and_consumed_by_a_token_over_tls(kafka: Secure, tmp_path: Path) -> None:
    token = token_file(tmp_path, kafka.broker.token())
    assert await carried(kafka.broker.settings(topic_prefix="oauth", **token)) == [f"{KEY}@1"]


async def test_events_are_published_and_consumed_with_a_certificate_of_our_own(kafka: Secure) -> None:
    assert await carried(mutual(kafka, topic_prefix="mutual")) == [f"{KEY}@1"]


async def test_a_consumer_that_stops_does_not_wait_for_the_fetch_that_the_broker_has_in_hand(kafka: Secure) -> None:
    settings = kafka.broker.settings(topic_prefix="stops")
    await ensure_topics(settings, [Person])
    topic = TopicPartition(topic_of(Person, settings.topic_prefix), 0)
    reading = consumer(settings, fetch_max_wait_ms=25_000)
    assert reading.last_words < 25.0, "it would fail to stop"
    await reading.start()
    reading.assign([topic])
    reading.seek(topic, 0)
    assert await reading.getmany(timeout_ms=500) == {}  # the fetch is on its way
    await reading.stop()


def mutual(kafka: Secure, **given: Any) -> KafkaSettings:
    ours = {"ssl_certfile": str(kafka.client.chain), "ssl_keyfile": str(kafka.client.key)}
    where = {"bootstrap_servers": f"{HOST}:{kafka.broker.mutual_port}", "security_protocol": "SSL"}
    return kafka.broker.settings(**(where | ours | given))


@pytest.mark.parametrize("wrong", [{"password": "not-it"}, {"username": "nobody"}])
async def test_a_wrong_password_or_user_is_said_with_what_to_check(kafka: Secure, wrong: dict[str, str]) -> None:
    error = await refusal(kafka.broker.settings(**wrong))
    assert isinstance(error, MisconfiguredError)
    assert error.what == "Kafka does not know our user or its password (SCRAM-SHA-512)"
    assert "IRONBRIDGE_KAFKA__PASSWORD" in error.fix
    assert "not-it" not in str(error)


async def test_a_mechanism_that_the_listener_has_not_is_said(kafka: Secure) -> None:
    error = await refusal(kafka.broker.settings(sasl_mechanism="SCRAM-SHA-256"))
    assert isinstance(error, MisconfiguredError)
    assert error.what == "Kafka does not take SCRAM-SHA-256"


async def test_an_expired_token_is_said_with_its_time_and_a_fresh_one_gets_through(
    kafka: Secure, tmp_path: Path
) -> None:
    settings = kafka.broker.settings(**token_file(tmp_path, kafka.broker.token(lasts=-120)))
    error = await refusal(settings)
    assert isinstance(error, UnavailableError)
    assert error.what.startswith("Kafka does not accept our token, which expired at 20")
    assert error.fix == "look at what keeps `kafka.oauth_token_file` fresh"
    token_file(tmp_path, kafka.broker.token())
    await answers(settings)


async def test_a_token_of_another_signer_or_audience_is_said(kafka: Secure, tmp_path: Path) -> None:
    stranger = rsa.generate_private_key(65537, 2048)
    for token in (kafka.broker.token(signer=stranger), kafka.broker.token(aud="something-else")):
        error = await refusal(kafka.broker.settings(**token_file(tmp_path, token)))
        assert isinstance(error, UnavailableError)
        assert error.what == "Kafka does not accept our token, which has not expired"
        assert token not in str(error)


async def test_a_token_file_that_is_not_there_or_empty_is_said(kafka: Secure, tmp_path: Path) -> None:
    settings = kafka.broker.settings(**token_file(tmp_path, ""))
    assert (await refusal(settings)).what == "the token file is empty"
    (tmp_path / "token").unlink()
    assert (await refusal(settings)).what == "the token file cannot be read (FileNotFoundError)"


async def test_a_certificate_of_another_authority_is_refused(kafka: Secure, tmp_path: Path) -> None:
    for cafile in (str(certified(tmp_path).ca), None):
        error = await refusal(kafka.broker.settings(ssl_cafile=cafile))
        assert isinstance(error, MisconfiguredError)
        assert error.what == "its certificate is not of an authority that we trust"
        assert error.fix == "name the authority's file: kafka.ssl_cafile"


async def test_a_certificate_in_another_name_is_refused(kafka: Secure) -> None:
    error = await refusal(kafka.broker.settings(bootstrap_servers=f"localhost:{kafka.broker.sasl_port}"))
    assert isinstance(error, MisconfiguredError)
    assert error.what == "its certificate is in another name"


async def test_a_listener_that_wants_a_certificate_of_ours_says_so(kafka: Secure) -> None:
    error = await refusal(mutual(kafka, ssl_certfile=None, ssl_keyfile=None))
    assert isinstance(error, MisconfiguredError)
    assert "it refused our handshake" in error.what
    assert "kafka.ssl_certfile" in error.fix


async def test_a_listener_without_tls_is_said(kafka: Secure) -> None:
    error = await refusal(kafka.broker.settings(bootstrap_servers=kafka.broker.bootstrap))
    assert isinstance(error, MisconfiguredError | UnavailableError)
    assert "TLS" in str(error)


async def test_a_broker_that_is_away_is_unavailable(kafka: Secure) -> None:
    error = await refusal(kafka.broker.settings(bootstrap_servers=f"{HOST}:1"))
    assert isinstance(error, UnavailableError)
    assert error.what == "Kafka does not answer (KafkaConnectionError)"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"password": None}, "SCRAM-SHA-512 needs username, and the password in IRONBRIDGE_KAFKA__PASSWORD"),
        ({"sasl_mechanism": "OAUTHBEARER"}, "OAUTHBEARER needs oauth_token_file"),
        (
            {"sasl_mechanism": "PLAIN", "security_protocol": "SASL_PLAINTEXT"},
            "PLAIN over SASL_PLAINTEXT shows the secret to the network: use SASL_SSL",
        ),
    ],
)
def test_settings_that_cannot_sign_in_or_would_show_the_secret_are_refused(kafka: Secure, given: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        kafka.broker.settings(**given)
