"""
Reads the values of a row as Debezium writes them.

A message with its schema says what each value is. Without one, the row class says it, and a value that may be read in two
ways is not read. Source: Debezium's documentation, "Data type mappings" of its connectors.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

from adapters.kit.rows import Field
from adapters.kit.typed import UnfitError

Schema = Mapping[str, Any]
"""A field of a Kafka Connect schema: `type`, and `name` with `parameters` where it means more than its type."""

_ORIGIN = datetime(1970, 1, 1)  # noqa: DTZ001 (a DATETIME without a zone is written as if it were UTC)
_DAY_ONE = date(1970, 1, 1)
_INFINITE = {9223372036825200000: datetime.max, -9223372036832400000: datetime.min}  # noqa: DTZ901 (PostgreSQL's infinities)


class Epoch(IntEnum):
    """
    The unit, in parts of a second, of a moment that is sent as a number without a schema: `Annotated[datetime | None,
    Epoch.MICROSECONDS]`.
    """

    MILLISECONDS = 1_000
    MICROSECONDS = 1_000_000
    NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Writing:
    """
    How a connector writes values. `texts` says that decimals without a schema are texts (`decimal.handling.mode=string`);
    `unavailable` is what it writes in place of a value that it did not get.
    """

    zone: ZoneInfo
    texts: bool
    unavailable: str

    def is_unavailable(self, value: Any) -> bool:
        if isinstance(value, list):
            return any(map(self.is_unavailable, value))
        if not isinstance(value, str) or not value:
            return False
        as_bytes = self.unavailable.encode()
        return value in (self.unavailable, base64.b64encode(as_bytes).decode(), as_bytes.hex())

    def value(self, its: Field, value: Any, schema: Schema | None) -> Any:
        """
        Give a value as a SQL driver would give it.

        :raises UnfitError: it cannot be read for certain.
        """
        if value is None:
            return None
        try:
            read = self._told(its, value, schema) if schema else self._untold(its, value)
        except (ValueError, TypeError, ArithmeticError, KeyError, AttributeError) as error:
            raise error if isinstance(error, UnfitError) else UnfitError("is not as its type says") from None
        if its.kind is date and isinstance(read, datetime) and read.tzinfo is not None:
            return read.astimezone(self.zone).date()
        return read

    def _told(self, its: Field, value: Any, schema: Schema) -> Any:
        """The value as its schema says."""
        name, kind = str(schema.get("name") or ""), schema.get("type")
        if name == "org.apache.kafka.connect.data.Decimal":
            return value if isinstance(value, int | Decimal) else _decimal(value, int(schema["parameters"]["scale"]))
        if kind in ("double", "float") and its.kind is Decimal:
            raise UnfitError("is sent as a double, which cannot hold a tenth: set decimal.handling.mode to precise or string")
        if (reader := _READERS.get(name)) is not None:
            return reader(value)
        if name.startswith(("io.debezium.time.", "org.apache.kafka.connect.data.")):
            raise UnfitError(f"is of the type {name.rpartition('.')[2]}, which is not read")
        if kind == "bytes":
            raise UnfitError("is binary")
        return _plain(value)

    def _untold(self, its: Field, value: Any) -> Any:
        """The value as the row class says."""
        if isinstance(value, dict):
            return _variable_decimal(value)
        if its.kind in (date, datetime) and isinstance(value, int) and not isinstance(value, bool):
            return _untold_time(its, value)
        if its.kind is Decimal and isinstance(value, Decimal):
            raise UnfitError("may have been a double, and no schema says: set decimal.handling.mode to precise or string")
        if its.kind is Decimal and isinstance(value, str) and not self.texts:
            raise UnfitError("is a number of bytes whose scale no schema says: have the schema sent, or texts")
        if its.kind is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
        if its.kind is date and isinstance(value, str) and "T" in value:
            return datetime.fromisoformat(value)
        if its.kind is date and isinstance(value, str):
            return date.fromisoformat(value.removesuffix("Z"))
        return _plain(value)


def _untold_time(its: Field, value: int) -> date:
    unit = next((note for note in its.notes if isinstance(note, Epoch)), None)
    if unit is not None:
        return _moment(value, unit)
    if its.kind is date and (found := _day(value)).year > 1700:
        return found
    raise UnfitError("is a number of a unit that no schema says: have the schema sent, or declare the field with an Epoch")


def _plain(value: Any) -> Any:
    """A value that is what it looks like; of a list or a structure nothing is known."""
    if isinstance(value, dict | list):
        raise UnfitError("is a list or a structure")
    return value


def _decimal(written: str, scale: int) -> Decimal:
    """A number in the big-endian two's complement of its unscaled value, as base64."""
    try:
        unscaled = int.from_bytes(base64.b64decode(written, validate=True), signed=True)
    except binascii.Error:
        raise UnfitError("is not a number") from None
    sign, digits = int(unscaled < 0), tuple(map(int, str(abs(unscaled))))
    return Decimal((sign, digits, -scale))


def _variable_decimal(value: Mapping[str, Any]) -> Decimal:
    if value.keys() != {"scale", "value"}:
        raise UnfitError("is a list or a structure")
    return _decimal(value["value"], int(value["scale"]))


def _day(value: int) -> date:
    return _DAY_ONE + timedelta(days=value)


def _moment(value: int, unit: int) -> datetime:
    if value in _INFINITE:
        return _INFINITE[value]
    seconds, rest = divmod(value, unit)
    return _ORIGIN + timedelta(seconds=seconds, microseconds=rest * 1_000_000 // unit)


def _moments(unit: int) -> Callable[[int], datetime]:
    return lambda value: _moment(value, unit)


def _time_of_day(unit: int) -> Callable[[int], str]:
    return lambda value: _moment(value, unit).time().isoformat()


def _zoned(value: str) -> datetime:
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _bits(value: str) -> int:
    return int.from_bytes(base64.b64decode(value, validate=True), "little")


_READERS: dict[str, Callable[[Any], Any]] = {
    "io.debezium.time.Date": _day,
    "io.debezium.time.Timestamp": _moments(Epoch.MILLISECONDS),
    "io.debezium.time.MicroTimestamp": _moments(Epoch.MICROSECONDS),
    "io.debezium.time.NanoTimestamp": _moments(Epoch.NANOSECONDS),
    "io.debezium.time.ZonedTimestamp": _zoned,
    "io.debezium.time.IsoDate": lambda value: date.fromisoformat(value.removesuffix("Z")),
    "io.debezium.time.IsoTimestamp": lambda value: datetime.fromisoformat(value.removesuffix("Z")),
    "io.debezium.time.IsoTime": lambda value: time.fromisoformat(value.removesuffix("Z")).isoformat(),
    "io.debezium.time.Time": _time_of_day(Epoch.MILLISECONDS),
    "io.debezium.time.MicroTime": _time_of_day(Epoch.MICROSECONDS),
    "io.debezium.time.NanoTime": _time_of_day(Epoch.NANOSECONDS),
    "io.debezium.time.ZonedTime": str,
    "io.debezium.time.Year": int,
    "org.apache.kafka.connect.data.Date": _day,
    "org.apache.kafka.connect.data.Time": _time_of_day(Epoch.MILLISECONDS),
    "org.apache.kafka.connect.data.Timestamp": _moments(Epoch.MILLISECONDS),
    "io.debezium.data.VariableScaleDecimal": _variable_decimal,
    "io.debezium.data.Bits": _bits,
}
