"""
Makes rows of events. The JSON of many events is read at once, by Arrow; each event by itself only if that fails.

Arrow does not check what pydantic checks. Adapters have checked it when they published. What is checked here is what a table
relies on: that each event gives one row with its own key, that the values have their columns' types, and that none is missing
which the entity requires.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from canonical import Entity, Event
from canonical.entity import without_controls
from canonical.errors import BadRecordError, shape_of
from ironbridge.tables.schema import schema_of

if TYPE_CHECKING:
    import pyarrow as pa

_ABOUT = 7
"""So many columns come from the event and not from its data: see `schema_of`."""


def rows(entity: type[Entity], events: Sequence[Event]) -> pa.Table:
    """
    A row for each of the events, in their order: `schema_of` tells the columns.

    :raises BadRecordError: the data of one is not that entity.
    """
    import pyarrow as pa

    found = [event.data for event in events if event.data is not None]
    keys = [event.key for event in events if event.data is not None]
    fields = _fields(entity, found, keys) if found else _columns(entity)[1].empty_table()
    if fields is None:
        fields = _fields(entity, [_checked(entity, event) for event in events if event.data is not None], keys)
    if fields is None:  # each by itself is right: only a fault of ours can come here
        raise BadRecordError(entity.type_name, field="data", rule="cannot be read as columns", shape=f"{len(found)} events")
    return pa.table([*_about(events), *_placed(events, fields)], schema=schema_of(entity))


def sorted_out(entity: type[Entity], events: Sequence[Event]) -> tuple[list[int], list[BadRecordError]]:
    """The places of the events that are this entity, and what is wrong with each of the others."""
    good, bad = [], []
    for place, event in enumerate(events):
        try:
            if event.data is not None:
                _checked(entity, event)
            good.append(place)
        except BadRecordError as error:
            bad.append(error)
    return good, bad


def _checked(entity: type[Entity], event: Event) -> bytes:
    """
    An event's data as the canonical JSON of what this release knows of it.

    :raises BadRecordError: it is not that entity, or another one than its headers say.
    """
    read: Entity = entity.from_bytes(event.data or b"")
    if read.key != event.key:
        raise BadRecordError(event.id, field="key", rule="is not the key in the headers", shape=shape_of(read.key))
    return read.to_bytes()


def _about(events: Sequence[Event]) -> list[pa.Array]:
    import pyarrow as pa

    columns: list[list[Any]] = [
        [event.key for event in events],
        [event.version for event in events],
        [event.time for event in events],
        [event.source for event in events],
        [event.owner for event in events],
        [event.data is None and not event.moved_to for event in events],
        [event.moved_to or None for event in events],
    ]
    kinds = [pa.string(), pa.int64(), pa.timestamp("us", tz="UTC"), pa.string(), pa.string(), pa.bool_(), pa.string()]
    return [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]


def _placed(events: Sequence[Event], fields: pa.Table) -> list[pa.Array]:
    """The columns of the fields, with a gap for each event without data."""
    import pyarrow as pa

    if len(events) == fields.num_rows:
        return list(fields.columns)
    behind, places = 0, []
    for event in events:
        places.append(behind if event.data is not None else None)
        behind += event.data is not None
    return list(fields.take(pa.array(places, pa.int64())).columns)


def _fields(entity: type[Entity], found: Sequence[bytes], keys: Sequence[str]) -> pa.Table | None:
    """The fields of each data, without the key; None if it is not certain that all of them were read as they are."""
    import pyarrow as pa
    from pyarrow import compute, json

    written, wanted, required = _columns(entity)
    lines = b"\n".join(found)
    if lines.count(b"\n") != len(found) - 1:
        return None
    options = json.ParseOptions(explicit_schema=written, unexpected_field_behavior="ignore")
    try:
        # One block, so that no line is longer than a block.
        read = json.read_json(
            pa.BufferReader(without_controls(lines)),
            parse_options=options,
            read_options=json.ReadOptions(use_threads=False, block_size=len(lines) + 1),
        )
        if read.num_rows != len(found) or not compute.all(compute.equal(read["key"], pa.array(keys))).as_py():
            return None
        if any(read[name].null_count for name in required):
            return None
        return _with_defaults(entity, read.select(wanted.names).cast(wanted))
    except pa.ArrowInvalid:
        return None


@cache
def _columns(entity: type[Entity]) -> tuple[pa.Schema, pa.Schema, tuple[str, ...]]:
    """The columns as JSON writes them, those of the fields as they should be, and the names of the required ones."""
    import pyarrow as pa

    wanted = pa.schema(list(schema_of(entity))[_ABOUT:])
    written = pa.schema([pa.field("key", pa.string()), *(each.with_type(_written(each.type)) for each in wanted)])
    required = tuple(name for name, info in entity.model_fields.items() if info.is_required())
    return written, wanted, required


def _written(kind: pa.DataType) -> pa.DataType:
    """The type as which a JSON value is read. Arrow reads a day as a text only."""
    import pyarrow as pa

    if pa.types.is_date(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_written(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_written(each.type)) for each in kind])
    return kind


def _with_defaults(entity: type[Entity], fields: pa.Table) -> pa.Table:
    """The same with the default of each field that an older publisher did not know."""
    import pyarrow as pa
    from pyarrow import compute

    for place, name in enumerate(fields.column_names):
        default = entity.model_fields[name].default
        if fields[name].null_count and default is not None and not entity.model_fields[name].is_required():
            value = pa.scalar(list(default) if isinstance(default, tuple) else default, fields.schema.field(name).type)
            fields = fields.set_column(place, fields.schema.field(name), compute.coalesce(fields[name], value))
    return fields
