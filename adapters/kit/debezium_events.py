"""
Reads Debezium's messages: what each says of one row, and where it stands in the source's own order.

Sources: Debezium's documentation, "Data change events" of its connectors and "New Record State Extraction".
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord

from adapters.kit.debezium_values import Schema, Writing
from adapters.kit.rows import Field
from adapters.kit.streams import FlatRows, NamedValues
from adapters.kit.typed import UnfitError
from adapters.port import Gone, Position, Record
from canonical.errors import MisconfiguredError

log = logging.getLogger(__name__)

_PASSED = re.compile(r"io\.debezium\.connector\..*(Heartbeat|TransactionMetadataValue|SchemaChangeValue)")
_AVRO = b"\x00"
_TIMES = frozenset({"ts_ms", "ts_us", "ts_ns"})
_ADDED = re.compile("__(?:source_)?")  # before the name of what ExtractNewRecordState's add.fields adds


class Payload(NamedTuple):
    """A message's JSON: what it says, and the schemas of its fields by name, if it brings them."""

    says: Mapping[str, Any]
    name: str
    schemas: Mapping[str, Schema]

    def inner(self, field: str) -> Payload:
        """One of its structures."""
        schema = self.schemas.get(field, {})
        return Payload(self.says.get(field) or {}, "", _by_name(schema))


class DebeziumChange(NamedTuple):
    """A message says that one row was made, changed, read or deleted. `after` is None if the row was deleted."""

    after: Payload | None
    before: Payload | None
    position: Position


class DebeziumReader:
    """
    Turns the messages of one topic into records, for `adapters.kit.topic.Topic`.

    Messages about anything but rows (heartbeats, transactions, changes of the schema) are passed over. One that cannot be read
    is quarantined under a key of its own, made of its partition and offset; so is one that says that the table was emptied.
    """

    def __init__(self, rows: FlatRows, writing: Writing, era: int) -> None:
        self._rows = rows
        self._writing = writing
        self._era = era
        self._ended: dict[int, bytes] = {}  # by partition: the key of a deletion, if that was the last message

    def __call__(self, message: ConsumerRecord) -> Record | Gone | None:
        ended = self._ended.pop(message.partition, None)
        try:
            return self._word(message, ended)
        except UnfitError as error:
            field, _, rule = str(error).partition(": ")
            log.warning("%s: a message is quarantined: %s: %s", self._rows.source, field, rule)
            return self._rows.unread(f"{message.partition} {message.offset}", field, rule)

    def _word(self, message: ConsumerRecord, ended: bytes | None) -> Record | Gone | None:
        """:raises UnfitError: it cannot be read; the text says what of it, a colon, and why."""
        told = None if message.value is None else self._json(message.value, "value.converter")
        if told is None:
            # It follows the message of the deletion, which says more. Where that was compacted away, it is all there is.
            return None if ended is not None and ended == message.key else Gone(self._key(message))
        change = None if _is_about_no_row(told) else self._change(told, message)
        if change is None:
            return None
        key = self._key(message)
        if change.after is None:
            self._ended[message.partition] = message.key
            return Gone(key, change.position)
        return self._record(key, change)

    def _record(self, key: str, change: DebeziumChange) -> Record:
        after, before = change.after or Payload({}, "", {}), change.before
        now, then = NamedValues(after.says), NamedValues(before.says if before else {})

        def read(its: Field) -> Any:
            name = now.name(its)
            if name is None:
                raise UnfitError("the message has no such column")
            value = after.says[name]
            if self._writing.is_unavailable(value):
                # The database did not log it because it did not change.
                value = then.values.get(name)
                if value is None or self._writing.is_unavailable(value):
                    raise UnfitError("was not sent: it did not change, and the database logs changes alone")
            return self._writing.value(its, value, after.schemas.get(name))

        try:
            record = self._rows.record(read, change.position)
        except UnfitError as error:
            raise UnfitError(f"the key: {error}") from None
        if record.key != key:
            raise UnfitError("the key: is another one in the row than in the message's key")
        return record

    def _change(self, told: Payload, message: ConsumerRecord) -> DebeziumChange | None:
        op = told.says.get("op")
        if not isinstance(told.says.get("source"), dict) or op is None:
            return self._unwrapped(told, message)
        if op == "m":
            return None
        if op == "t":
            raise UnfitError(
                "op: says that the table was emptied (TRUNCATE), and not which rows it held. Their records stay: have the "
                "source send a snapshot, and delete what is not in it"
            )
        if op not in ("c", "u", "d", "r"):
            raise UnfitError("op: is none of c, u, d, r, t, m")
        if op != "d" and not isinstance(told.says.get("after"), dict):
            raise UnfitError("after: is missing")
        before = told.inner("before") if isinstance(told.says.get("before"), dict) else None
        position = position_of(told.says["source"], op, self._era)
        return DebeziumChange(None if op == "d" else told.inner("after"), before, position)

    def _unwrapped(self, told: Payload, message: ConsumerRecord) -> DebeziumChange:
        """A row alone, as ExtractNewRecordState leaves it; its headers or fields may say more."""
        headers = {name: value.decode("utf-8", "replace") for name, value in message.headers if value}
        added = {name: value for name, value in [*headers.items(), *told.says.items()] if name.startswith("__")}
        source = {_ADDED.sub("", name, count=1): value for name, value in added.items()}
        deleted = str(added.get("__deleted")).lower() == "true" or source.get("op") == "d"
        return DebeziumChange(None if deleted else told, None, position_of(source, source.get("op"), self._era))

    def _key(self, message: ConsumerRecord) -> str:
        """
        Make the record's key of the message's key.

        :raises MisconfiguredError: it is not of the columns that the row class has for its key.
        """
        key = None if message.key is None else self._json(message.key, "key.converter")
        named = NamedValues(key.says if key else {})
        if key is None or len(key.says) != len(self._rows.key) or not all(map(named.has, self._rows.key)):
            wanted = ", ".join(its.column for its in self._rows.key)
            found = ", ".join(sorted(key.says)) if key else "none"
            fix = f"set message.key.columns of the connector to {wanted}, or declare the row class with the key of the table"
            raise self._misread(f"a message has another key than {wanted}: {found}", fix)
        says, schemas = key.says, key.schemas

        def read(its: Field) -> Any:
            name = named.name(its) or ""
            return self._writing.value(its, says[name], schemas.get(name))

        try:
            return self._rows.keys.of(*self._rows.identifiers(read))
        except UnfitError as error:
            raise UnfitError(f"the message's key: {error}") from None

    def _json(self, written: bytes, converter: str) -> Payload | None:
        """
        The JSON of a message's key or value; None if it says null.

        :raises MisconfiguredError: it is written in Avro, or the key is no structure.
        """
        fix = f"set {converter} of the connector to org.apache.kafka.connect.json.JsonConverter"
        if written.startswith(_AVRO):
            raise self._misread("a message is not JSON: it is written by a schema registry", fix)
        try:
            found = json.loads(written, parse_float=Decimal, parse_constant=_no_number)
        except (ValueError, RecursionError):
            if converter == "key.converter":
                raise self._misread("a message's key is not JSON", fix) from None
            raise UnfitError("the message: is not JSON") from None
        schema: Mapping[str, Any] = {}
        if isinstance(found, dict) and found.keys() == {"schema", "payload"}:
            schema, found = found["schema"] or {}, found["payload"]
        if found is None:
            return None
        if not isinstance(found, dict):
            raise UnfitError("the message: is no structure")
        return Payload(found, str(schema.get("name") or ""), _by_name(schema))

    def _misread(self, what: str, fix: str) -> MisconfiguredError:
        return MisconfiguredError(f"{self._rows.source}.{self._rows.declared.name}", what, fix=fix)


def _no_number(_: str) -> Any:
    raise ValueError  # NaN and the infinities are no JSON


def _by_name(schema: Schema) -> Mapping[str, Schema]:
    return {str(each.get("field")): each for each in schema.get("fields") or ()}


def _is_about_no_row(told: Payload) -> bool:
    """Tell whether it is a heartbeat, the beginning or end of a transaction, or a change of the schema."""
    says = told.says.keys()
    if _PASSED.fullmatch(told.name) or {"ts_ms"} <= says <= _TIMES:
        return True
    if "op" in says:
        return False
    return {"status", "id", "event_count"} <= says or ("source" in says and bool({"ddl", "tableChanges"} & says))


def position_of(source: Mapping[str, Any], op: Any, era: int) -> Position:
    """
    Tell where a message stands in the order in which its source committed; () if that is not known for certain.

    A row's later message has a higher position, also if a connector sends some of them again. `era` comes first.
    """
    try:
        for known, placed in _ORDERS:
            if source.get(known) is not None:
                place = placed(source, _snapshot(source, op))
                return (era, *place) if place else ()
    except (ValueError, TypeError, KeyError, IndexError):
        pass
    return ()


def _snapshot(source: Mapping[str, Any], op: Any) -> str:
    """`no` for what is read from the log, `incremental`, `whole`, or `unknown`."""
    said = str(source.get("snapshot", "")).lower()
    if said == "incremental":
        return said
    if op in ("c", "u", "d"):
        return "no"
    return "whole" if op == "r" or said not in ("", "none", "false") else "no" if said == "false" else "unknown"


def _mysql(source: Mapping[str, Any], _: str) -> tuple[int, ...]:
    """MySQL and MariaDB: the log is written in the order of commits."""
    return int(str(source["file"]).rpartition(".")[2]), int(source["pos"]), int(source.get("row") or 0)


def _sql_server(source: Mapping[str, Any], _: str) -> tuple[int, ...]:
    """SQL Server and Db2: numbers in hexadecimal, joined by colons."""
    committed = _hexadecimal(source["commit_lsn"])
    change = _hexadecimal(source["change_lsn"]) if source.get("change_lsn") else (0,) * len(committed)
    return *committed, *change, int(source.get("event_serial_no") or 0)


def _hexadecimal(written: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in written.split(":"))


def _oracle(source: Mapping[str, Any], snapshot: str) -> tuple[int, ...]:
    """
    Oracle: a snapshot is read as of its number, so what commits later is newer, however early it was changed.
    """
    if source.get("commit_scn") is None:
        return (int(source["scn"]), int(source["scn"])) if snapshot == "whole" else ()
    return int(source["commit_scn"]), int(source["scn"])


def _postgresql(source: Mapping[str, Any], snapshot: str) -> tuple[int, ...]:
    """
    PostgreSQL: the place of a change in the log lies before the commit of its transaction.

    A transaction that was open while a snapshot was taken has changed rows at lower places than the snapshot's, and is newer.
    So a row of a whole snapshot has no position. An incremental one is compared by the last commit before it, which
    `sequence` says.
    """
    place = int(source["lsn"])
    committed = json.loads(source["sequence"])[0] if source.get("sequence") else None
    if snapshot in ("whole", "unknown") or (snapshot == "incremental" and committed is None):
        return ()
    return max(place, int(committed or 0)), place


_ORDERS = (("file", _mysql), ("commit_lsn", _sql_server), ("scn", _oracle), ("lsn", _postgresql))
"""By the field that tells a kind of source: how its place is read."""
