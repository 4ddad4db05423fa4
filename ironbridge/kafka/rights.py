"""
Asks Kafka which rights our user has, and uses none of them.

Kafka tells with a topic's metadata what we may do with the topic (KIP-430), also of one that is not there yet. It tells
nothing about groups and transactional ids. So it gets a request of a member, or a producer, that does not exist: a user
without the right is refused for that, any other one for the stranger's name. Nothing changes either way.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.transaction import EndTxnRequest
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

from ironbridge.kafka.client import client_options, connecting
from ironbridge.settings import KafkaSettings

_UNTOLD = -(1 << 31)  # a broker's answer where it tells no operations
_NOBODY = (1 << 63) - 1  # no producer ever has this id
_REFUSED = (GroupAuthorizationFailedError.errno, TransactionalIdAuthorizationFailed.errno)


class KafkaOperation(IntEnum):
    """An operation, by its number in Kafka's protocol. Read and Write include Describe."""

    Read = 3
    Write = 4
    Create = 5
    Describe = 8
    DescribeConfigs = 10


@dataclass(frozen=True, slots=True, order=True)
class KafkaRight:
    """A right on one resource. `kind` is a topic, a group or a transactional-id, as kafka-acls.sh calls it."""

    kind: str
    name: str
    operation: KafkaOperation

    def __str__(self) -> str:
        return f"the right {self.operation.name} on {self.kind} {self.name}"

    def granting(self, settings: KafkaSettings) -> str:
        """The command that grants it to our user."""
        known = settings.security_protocol.startswith("SASL") and settings.sasl_mechanism != "OAUTHBEARER"
        user = shlex.quote(f"User:{settings.username if known else 'NAME'}")
        return f"kafka-acls.sh --add --allow-principal {user} --operation {self.operation.name} --{self.kind} {self.name}"


@dataclass(slots=True)
class Told:
    """
    What Kafka told: the rights that we lack, the topics that are there, and the ones that we may not see, which may be there
    or not. `silent`: it does not tell what we may do with topics.
    """

    lacking: list[KafkaRight] = field(default_factory=list)
    there: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    silent: bool = False


async def told(settings: KafkaSettings, wanted: Collection[KafkaRight]) -> Told:
    """
    Ask which of these rights our user lacks.

    :raises UnavailableError: nobody answers. :raises MisconfiguredError: Kafka refuses us.
    """
    admin = AIOKafkaAdminClient(**client_options(settings))
    async with connecting(settings, "kafka"):
        await admin.start()
        try:
            found = await _of_topics(admin, [right for right in wanted if right.kind == "topic"])
            others = [right for right in wanted if right.kind != "topic"]
            found.lacking += [right for right in others if await _refused(admin, right)]
            return found
        finally:
            await admin.close()


async def _refused(admin: AIOKafkaAdminClient, right: KafkaRight) -> bool:
    stranger: HeartbeatRequest | EndTxnRequest = HeartbeatRequest(right.name, -1, "nobody")
    if right.kind == "transactional-id":
        stranger = EndTxnRequest(right.name, _NOBODY, 0, transaction_result=False)
    answer = await admin._send_request(stranger)
    return answer.error_code in _REFUSED


async def _of_topics(admin: AIOKafkaAdminClient, wanted: Collection[KafkaRight]) -> Told:
    found = Told()
    try:
        answer = await admin._send_request(_Allowed(sorted({right.name for right in wanted})))
    except (IncompatibleBrokerVersion, NotImplementedError):
        found.silent = True
        return found
    may: dict[str, int] = {}
    for code, name, _, _, operations in answer.topics:
        if code == TopicAuthorizationFailedError.errno:
            found.hidden.add(name)
            may[name] = 0
        elif operations == _UNTOLD:
            found.silent = True
        else:
            may[name] = operations
        if code not in (TopicAuthorizationFailedError.errno, UnknownTopicOrPartitionError.errno):
            found.there.add(name)
    for name in await _configurable(admin, found.hidden):
        may[name] |= 1 << KafkaOperation.DescribeConfigs
    found.lacking += [right for right in wanted if right.name in may and not may[right.name] >> right.operation & 1]
    return found


async def _configurable(admin: AIOKafkaAdminClient, hidden: Iterable[str]) -> list[str]:
    """Gives the names of those `hidden` topics, which we may not describe, whose settings we may read."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in sorted(hidden)]
    answers = await admin.describe_configs(asked) if asked else []
    return [name for a in answers for code, _, _, name, _ in a.resources if code != TopicAuthorizationFailedError.errno]


class _AllowedResponse(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node", Int32), ("host", String("utf-8")), ("port", Int32), ("rack", String("utf-8")))),
        ("cluster", String("utf-8")),
        ("controller", Int32),
        ("topics", Array(
            ("error_code", Int16),
            ("name", String("utf-8")),
            ("internal", Boolean),
            ("partitions", Array(
                ("error_code", Int16), ("number", Int32), ("leader", Int32), ("epoch", Int32),
                ("replicas", Array(Int32)), ("in_sync", Array(Int32)), ("offline", Array(Int32)),
            )),
            ("operations", Int32),
        )),
        ("operations", Int32),
    )  # fmt: skip


class _AllowedRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _AllowedResponse
    SCHEMA = Schema(
        ("topics", Array(String("utf-8"))), ("create", Boolean), ("of_cluster", Boolean), ("of_topics", Boolean)
    )


class _Allowed(Request[_AllowedRequest]):  # type: ignore[misc]
    """Metadata of topics with the operations that we may do. aiokafka knows versions up to 5, which tell none."""

    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_AllowedRequest]) -> _AllowedRequest:
        return request_struct_class(self._topics, False, False, True)
