"""
Connects every Kafka client, with TLS and SASL, and says what it means if no connection comes about.

aiokafka says "Unable to bootstrap" whatever the reason was, and takes a refused token for an accepted one. So where it cannot
connect, each broker is asked once more, by itself, and its reason becomes a sentence.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidProducerEpoch,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    RecordListTooLargeError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownError,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from canonical.connect import tls
from canonical.errors import FencedError, IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge.settings import KafkaSettings

CONNECT = 120.0
"""Seconds for a connection, and for a question about topics or about a place in a consumer group."""
_ASK_PATIENCE = 5_000  # milliseconds for one broker to say why it will not have us
_FIXES = {
    "ca": "kafka.ssl_cafile",
    "own": "kafka.ssl_certfile and kafka.ssl_keyfile",
    "plain": "kafka.security_protocol = PLAINTEXT or SASL_PLAINTEXT",
}


_REFUSALS = (
    GroupAuthorizationFailedError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


class _OAuthToken(AbstractTokenProvider):  # type: ignore[misc]
    """OAUTHBEARER with a token that another process keeps fresh in a file (a mounted, rotated secret)."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def token(self) -> str:
        return _token_in(self._path)


def _token_in(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:  # a small local file, once a connection
            token = file.read().strip()
    except (OSError, ValueError) as error:
        raise MisconfiguredError(
            "kafka", f"the token file cannot be read ({type(error).__name__})", fix="check `kafka.oauth_token_file`"
        ) from None
    if not token:
        raise MisconfiguredError("kafka", "the token file is empty", fix="look at what keeps `kafka.oauth_token_file`")
    return token


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """
    Return the options with which every aiokafka client is built.

    :raises MisconfiguredError: a certificate's or an authority's file cannot be used.
    """
    return {"bootstrap_servers": settings.bootstrap_servers, "request_timeout_ms": 30_000, **_security(settings)}


def compression(settings: KafkaSettings) -> str | None:
    """The compression of what is sent, as aiokafka wants it."""
    return None if settings.compression == "none" else settings.compression


def _security(settings: KafkaSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = tls.context(
            "kafka", cafile=settings.ssl_cafile, certfile=settings.ssl_certfile, keyfile=settings.ssl_keyfile
        )
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        if settings.sasl_mechanism == "OAUTHBEARER":
            options["sasl_oauth_token_provider"] = _OAuthToken(settings.oauth_token_file or "")
        else:
            options["sasl_plain_username"] = settings.username
            options["sasl_plain_password"] = settings.password.get_secret_value() if settings.password else None
    return options


class OverdueError(KafkaError):  # type: ignore[misc]
    """Kafka did not answer in time; aiokafka itself would ask for ever. `what` ends the sentence `Kafka did not …`."""

    def __init__(self, what: str, seconds: float) -> None:
        super().__init__(f"Kafka did not {what} within {seconds:.0f} s")


@asynccontextmanager
async def ending(what: str, seconds: float) -> AsyncIterator[None]:
    """:raises OverdueError: the work takes longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise OverdueError(what, seconds) from error


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise Kafka's errors as our own."""
    try:
        yield
    except (ProducerFenced, InvalidProducerEpoch) as error:
        raise FencedError(where, "a newer copy of it has taken over", fix="stop one of the two") from error
    except _REFUSALS as error:
        raise MisconfiguredError(
            where, f"Kafka refused us ({type(error).__name__})",
            fix="check the kafka section's user; `ironbridge check` names each right that it lacks",
        ) from error  # fmt: skip
    except InvalidTimestampError as error:
        raise MisconfiguredError(
            where,
            "Kafka refuses our time: it is more than an hour ahead",
            fix="set this machine's clock, or the broker's",
        ) from error
    except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
        raise UnavailableError(
            where,
            "Kafka takes no record as large as one of ours any more",
            fix="give the topics a `max.message.bytes` of 8388608 again; the next start names the one that has less",
        ) from error
    except OverdueError as error:
        raise UnavailableError(
            where, str(error.args[0]), fix="check the broker; kafka-consumer-groups.sh --describe shows who holds up a group"
        ) from error
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnavailableError(
            where,
            f"Kafka does not answer ({type(error).__name__})",
            fix="check `kafka.bootstrap_servers` and the broker",
        ) from error


@asynccontextmanager
async def connecting(settings: KafkaSettings, where: str) -> AsyncIterator[None]:
    """
    Raise Kafka's errors as our own. If no connection came about, the brokers are asked for the reason.

    :raises MisconfiguredError: certificate, password, mechanism or protocol are not what Kafka wants.
    :raises UnavailableError: nobody answers, or the token is not accepted: it may be a fresh one the next time.
    """
    try:
        with translated(where):
            async with ending("answer", CONNECT):
                yield
    except UnavailableError as error:
        reason = await _reason(settings, where) if settings.security_protocol != "PLAINTEXT" else None
        if reason is not None:
            raise reason from error
        raise


async def _reason(settings: KafkaSettings, where: str) -> IronbridgeError | None:
    for host, port, _ in collect_hosts(settings.bootstrap_servers):
        reason = await _asked(settings, f"{where}: {host}:{port}", host, port)
        if reason is not None:
            return reason
    return None


async def _asked(settings: KafkaSettings, where: str, host: str, port: int) -> IronbridgeError | None:
    connection: AIOKafkaConnection | None = None
    try:
        connection = await create_conn(host, port, request_timeout_ms=_ASK_PATIENCE, **_security(settings))
        answer = await connection.send(MetadataRequest([]))
        if not answer.brokers:
            raise UnknownError
    except IronbridgeError as error:
        return error
    except (SaslAuthenticationFailed, IllegalSaslStateError):
        return _unknown(settings, where)
    except UnsupportedSaslMechanismError:
        return MisconfiguredError(
            where,
            f"Kafka does not take {settings.sasl_mechanism}",
            fix="set `kafka.sasl_mechanism` to what its listener has",
        )
    except (KafkaError, OSError, TimeoutError) as error:
        if said := tls.complaint(error):
            return MisconfiguredError(where, said[0], fix=said[1].format_map(_FIXES))
        if isinstance(error, ConnectionResetError | ConnectionAbortedError) and settings.security_protocol.endswith(
            "SSL"
        ):
            return MisconfiguredError(
                where,
                "it hangs up on our handshake: perhaps it has no TLS there",
                fix="check `kafka.security_protocol` and the port",
            )
        # A broker hangs up on a token that it does not accept; aiokafka has not understood its answer.
        refused = (
            connection is not None and settings.sasl_mechanism == "OAUTHBEARER" and "SASL" in settings.security_protocol
        )
        return _unknown(settings, where) if refused else None
    finally:
        if connection is not None:
            connection.close()
    return None


def _unknown(settings: KafkaSettings, where: str) -> IronbridgeError:
    if settings.sasl_mechanism != "OAUTHBEARER":
        return MisconfiguredError(
            where, f"Kafka does not know our user or its password ({settings.sasl_mechanism})",
            fix="check `kafka.username` and IRONBRIDGE_KAFKA__PASSWORD, and that the user has this mechanism's credentials",
        )  # fmt: skip
    ended = _expiry(_token_in(settings.oauth_token_file or ""))
    if ended is not None and ended <= datetime.now(UTC):
        return UnavailableError(
            where, f"Kafka does not accept our token, which expired at {ended:%Y-%m-%d %H:%M:%S} UTC",
            fix="look at what keeps `kafka.oauth_token_file` fresh",
        )  # fmt: skip
    return UnavailableError(
        where, "Kafka does not accept our token, which has not expired",
        fix="compare its issuer, audience and scope with the broker's settings, and the two machines' clocks",
    )  # fmt: skip


def _expiry(token: str) -> datetime | None:
    """Return when a token ends, if it is a JWT that says so. Nothing else in it is believed."""
    try:
        claims = token.split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return datetime.fromtimestamp(float(said["exp"]), UTC)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, OSError):
        return None
