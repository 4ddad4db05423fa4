"""
Debezium's topics as the source of pushed streams: a council that has Kafka Connect keeps it.

An adapter declares its rows (`row_of`), maps each in one function, names both with a topic as a `DebeziumStream`, and is a
`DebeziumAdapter`. Messages are JSON, with or without schemas, in Debezium's envelope or unwrapped by ExtractNewRecordState.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from adapters.kit.debezium_events import DebeziumReader
from adapters.kit.debezium_values import Epoch, Writing
from adapters.kit.row_settings import RowSettings
from adapters.kit.streams import FlatAdapter, FlatRows, Map
from adapters.kit.topic import Topic
from adapters.port import Push, Stream
from canonical.connect import tls
from canonical.errors import IronbridgeError, MisconfiguredError
from canonical.finding import Finding

__all__ = ["DebeziumAdapter", "DebeziumSettings", "DebeziumStream", "Epoch"]


class DebeziumSettings(RowSettings):
    """
    These settings say in which Kafka Debezium's topics lie, and how its connector writes.

    `ours` says that it is the Kafka to which Ironbridge publishes: offsets are then committed with the events. `group` is the
    consumer group that remembers how far was read; without one it is made of the adapter's name. `topics` name, for a
    stream, another topic than the adapter's author did.

    Raise `era` before messages are read of a source that counts anew: a database that was loaded into another server, or a
    MySQL that was replaced by its replica. Its low positions would else be taken for old ones, and its changes left out.

    `decimals` is what the connector's `decimal.handling.mode` says; it counts where messages come without schemas. `unavailable`
    is its `unavailable.value.placeholder`.
    """

    bootstrap_servers: str = Field(min_length=1)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ours: bool = False
    group: str | None = Field(default=None, min_length=1)
    topics: dict[str, str] = Field(default_factory=dict)
    era: int = Field(default=0, ge=0)
    decimals: Literal["precise", "string"] = "precise"
    unavailable: str = Field(default="__debezium_unavailable_value", min_length=1)

    @model_validator(mode="after")
    def _can_sign_in(self) -> DebeziumSettings:
        signs_in = self.security_protocol.startswith("SASL")
        if signs_in and not (self.username and self.password):
            raise ValueError("SASL needs `username` and `password`")
        if self.security_protocol == "SASL_PLAINTEXT" and self.sasl_mechanism == "PLAIN":
            raise ValueError("PLAIN over SASL_PLAINTEXT shows the password to the network: use SASL_SSL")
        return self

    def options(self, where: str) -> dict[str, Any]:
        """
        The options of a consumer.

        :raises MisconfiguredError: a file of certificates cannot be read.
        """
        made: dict[str, Any] = {"bootstrap_servers": self.bootstrap_servers, "security_protocol": self.security_protocol}
        if self.security_protocol.endswith("SSL"):
            own = {"certfile": self.ssl_certfile, "keyfile": self.ssl_keyfile}
            made["ssl_context"] = tls.context(where, cafile=self.ssl_cafile, **own)
        if self.password is not None:
            made |= {"sasl_mechanism": self.sasl_mechanism, "sasl_plain_username": self.username}
            made["sasl_plain_password"] = self.password.get_secret_value()
        return made


@dataclass(frozen=True, slots=True)
class DebeziumStream:
    """
    A stream of the rows of one table, as Debezium writes them to a `topic`.

    `map` is a function of a module, `def person(source: str, row: Tenant) -> Person`, as in `adapters.kit.sql.SqlStream`. The
    key of the row class is the key of the messages. `prefix` is the one of `KeysOf`.
    """

    name: str
    map: Map
    topic: str
    prefix: str = ""


class DebeziumAdapter:
    """
    A legacy system whose changes Debezium writes to Kafka. `name` is the source in every key; `wait` is the time in seconds
    after which a topic is quiet.
    """

    def __init__(
        self, name: str, settings: DebeziumSettings, streams: Sequence[DebeziumStream], *, wait: float = 5.0
    ) -> None:
        self.name = name
        self._flat = FlatAdapter(name, settings, streams)
        if unknown := sorted(settings.topics.keys() - self._flat.rows.keys()):
            fix = f"its streams are {', '.join(self._flat.rows)}"
            raise MisconfiguredError(name, f"`topics` names no stream: {', '.join(unknown)}", fix=fix)
        self._settings = settings
        self._named = {each.name: settings.topics.get(each.name, each.topic) for each in streams}
        self._topics = {each.name: self._topic(each.name, wait) for each in streams}

    def streams(self) -> Sequence[Stream]:
        return [self._flat.stream(name, Push(topic.receive)) for name, topic in self._topics.items()]

    async def open(self) -> None:
        for topic in self._topics.values():
            await topic.open()

    async def close(self) -> None:
        for topic in self._topics.values():
            await topic.close()

    async def check(self) -> Sequence[Finding]:
        """Look whether each topic is there and can be read. No offset is changed."""
        return [await self._looked_at(name) for name in self._topics]

    async def _looked_at(self, name: str) -> Finding:
        topic = self._topic(name, wait=0.0)
        try:
            await topic.open()
            partitions = await topic.partitions()
        except IronbridgeError as error:
            return Finding(f"{self.name}.{name}: {error.what}", False, error.fix)
        finally:
            await topic.close()
        return Finding(f"{self.name}.{name}: the topic {self._named[name]} can be read (partitions: {partitions})", True)

    def _topic(self, name: str, wait: float) -> Topic:
        s = self._settings
        read = _reader(self._flat.rows[name], s)
        group = s.group or f"ironbridge.{self.name}"
        return Topic(self.name, self._named[name], group, read, ours=s.ours, wait=wait, **s.options(self.name))


def reader_of(source: str, stream: DebeziumStream, settings: DebeziumSettings) -> DebeziumReader:
    """Make what turns the messages of a stream's topic into records: for the tests of an adapter, without Kafka."""
    return _reader(FlatRows(source, stream), settings)


def _reader(rows: FlatRows, settings: DebeziumSettings) -> DebeziumReader:
    writing = Writing(settings.zone, settings.decimals == "string", settings.unavailable)
    return DebeziumReader(rows, writing, settings.era)
