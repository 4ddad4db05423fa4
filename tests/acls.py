"""The ACLs of a secured Kafka, changed by the words of `kafka-acls.sh` (whose jar we do not have)."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from ironbridge.kafka.client import client_options
from ironbridge.kafka.rights import KafkaOperation
from ironbridge.settings import KafkaSettings

_KINDS = {"topic": 2, "group": 3, "transactional_id": 5}
_PATTERNS = {"literal": 3, "prefixed": 4}
_ALLOW = 3
_ACL = (
    ("kind", Int8), ("name", String("utf-8")), ("pattern", Int8), ("principal", String("utf-8")),
    ("host", String("utf-8")), ("operation", Int8), ("permission", Int8),
)  # fmt: skip


class _Created(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 30, 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", Array(("error_code", Int16), ("message", String("utf-8")))))


class _CreateRequest(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, RESPONSE_TYPE = 30, 1, _Created
    SCHEMA = Schema(("acls", Array(*_ACL)))


class _Create(Request[_CreateRequest]):  # type: ignore[misc]
    API_KEY = 30

    def __init__(self, acls: list[Any]) -> None:
        self._acls = acls

    def build(self, request_struct_class: type[_CreateRequest]) -> _CreateRequest:
        return request_struct_class(self._acls)


class _Deleted(Response):  # type: ignore[misc]
    API_KEY, API_VERSION = 31, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(
            ("error_code", Int16), ("message", String("utf-8")),
            ("acls", Array(("error_code", Int16), ("message", String("utf-8")), *_ACL)),
        )),
    )  # fmt: skip


class _DeleteRequest(RequestStruct):  # type: ignore[misc]
    API_KEY, API_VERSION, RESPONSE_TYPE = 31, 1, _Deleted
    SCHEMA = Schema(("acls", Array(*_ACL)))


class _Delete(Request[_DeleteRequest]):  # type: ignore[misc]
    API_KEY = 31

    def __init__(self, acls: list[Any]) -> None:
        self._acls = acls

    def build(self, request_struct_class: type[_DeleteRequest]) -> _DeleteRequest:
        return request_struct_class(self._acls)


class Acls:
    """The ACLs, as a user who may change them sees them."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def run(self, command: str) -> None:
        """Do what this command of `kafka-acls.sh` would do, with `--add` or `--remove`."""
        asked = _parsed(command)
        acls = [
            (_KINDS[kind], name, _PATTERNS[asked.resource_pattern_type], asked.allow_principal, "*", KafkaOperation[each], _ALLOW)
            for kind in _KINDS
            if (name := getattr(asked, kind))
            for each in asked.operation
        ]
        assert acls, command
        answer = await self._admin._send_to_controller(_Delete(acls) if asked.remove else _Create(acls))
        for code, message, *found in answer.results:
            assert (code, message or "") == (0, ""), message
            assert not asked.remove or found[0], f"nobody had granted it: {command}"


def _parsed(command: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for flag in ("--add", "--remove"):
        parser.add_argument(flag, action="store_true")
    for option in ("--bootstrap-server", "--command-config", "--allow-principal", "--topic", "--group", "--transactional-id"):
        parser.add_argument(option)
    parser.add_argument("--operation", action="append", default=[])
    parser.add_argument("--resource-pattern-type", default="literal")
    program, *words = shlex.split(command)
    assert program == "kafka-acls.sh", command
    return parser.parse_args(words)


@asynccontextmanager
async def acls_of(settings: KafkaSettings) -> AsyncIterator[Acls]:
    """The ACLs of this Kafka, changed by the user of these settings."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        yield Acls(admin)
    finally:
        await admin.close()
