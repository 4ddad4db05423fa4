"""Says which tables there are, where each lies, and which fields it has: a field goes where its class may stand."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, get_args

from pydantic import BaseModel

from canonical import ENTITIES, Entity
from canonical.entity import Sensitivity
from canonical.errors import MisconfiguredError
from ironbridge.settings import TablesSettings
from ironbridge.tables.schema import schema_of, table_name

if TYPE_CHECKING:
    import pyarrow as pa

PLACE = ("_partition", "_offset")
"""The columns that say where an event lies in its topic. The partition is the folder that its rows are in."""


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One table: the entity, its address, and its columns in their order. A latest table has one row a key."""

    entity: type[Entity]
    uri: str
    history: bool
    columns: pa.Schema = field(repr=False)
    apart: bool = False

    @property
    def name(self) -> str:
        """The name of its folder, e.g. `care_episode_history`."""
        return table_name(self.entity, history=self.history)

    @property
    def view(self) -> str:
        """Its name in a query, where the tables apart stand beside the others, e.g. `apart_person`."""
        return f"apart_{self.name}" if self.apart else self.name


def entities_of(settings: TablesSettings) -> list[type[Entity]]:
    """
    The entities that have tables.

    :raises MisconfiguredError: there is no such entity.
    """
    for name in settings.entities:
        if name not in ENTITIES:
            near = difflib.get_close_matches(name, ENTITIES, n=1)
            fix = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(ENTITIES)}"
            raise MisconfiguredError("tables.entities", f"there is no entity `{name}`", fix=fix)
    return [ENTITIES[name] for name in settings.entities or ENTITIES]


def plans(settings: TablesSettings) -> list[TablePlan]:
    """
    All tables, the history before the latest of each entity.

    :raises MisconfiguredError: no path is set, there is no such entity, or a field has a type for which there is no column.
    """
    if not settings.path:
        raise MisconfiguredError("tables", "no path is set", fix="set `tables.path`: a folder, or an address of an object store")
    return [plan for entity in entities_of(settings) for plan in _of_entity(entity, settings)]


def _of_entity(entity: type[Entity], settings: TablesSettings) -> Iterator[TablePlan]:
    columns = schema_of(entity)
    main = _kept(columns, entity, set(settings.hold))
    yield from _both(entity, str(settings.path), main, apart=False)
    more = _kept(columns, entity, {*settings.hold, *settings.apart})
    here = [each for each in more if each.name.startswith("_") or each.name == "key" or each not in list(main)]
    if settings.apart_path and any(each not in list(main) for each in here):
        yield from _both(entity, settings.apart_path, here, apart=True)


def _both(entity: type[Entity], path: str, columns: Collection[pa.Field], *, apart: bool) -> Iterator[TablePlan]:
    import pyarrow as pa

    placed = [*columns, pa.field(PLACE[0], pa.int32(), nullable=False), pa.field(PLACE[1], pa.int64(), nullable=False)]
    dead = {"_deleted", "_moved_to"}  # a latest table has no such rows
    for history in (True, False):
        uri = f"{path.rstrip('/')}/{table_name(entity, history=history)}"
        schema = pa.schema([each for each in placed if history or each.name not in dead])
        yield TablePlan(entity, uri, history, schema, apart)


def _kept(columns: pa.Schema, entity: type[Entity], classes: set[Sensitivity]) -> list[pa.Field]:
    """The columns without the fields that are of other classes, or that belong to a part of another class."""
    about = [each for each in columns if each.name.startswith("_") or each.name == "key"]
    fields = _of_model([each for each in columns if each not in about], entity, classes)
    return [*about, *fields]


def _of_model(fields: Collection[pa.Field], model: type[BaseModel], classes: set[Sensitivity]) -> list[pa.Field]:
    kept = []
    for each in fields:
        info = model.model_fields[each.name]
        if any(kind in classes for kind in info.metadata if isinstance(kind, Sensitivity)):
            kind = _of_type(each.type, info.annotation, classes)
            if kind is not None:
                kept.append(each.with_type(kind))
    return kept


def _of_type(kind: pa.DataType, annotation: object, classes: set[Sensitivity]) -> pa.DataType | None:
    """The same type without the fields of other classes; None if nothing is left of it."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        inner = _of_type(kind.value_type, annotation, classes)
        return None if inner is None else pa.list_(inner)
    if not pa.types.is_struct(kind):
        return kind
    part = _part_in(annotation)
    fields = _of_model(list(kind), part, classes) if part else []
    return pa.struct(fields) if fields else None


def _part_in(annotation: object) -> type[BaseModel] | None:
    """The model of which a field holds one or several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_part_in, get_args(annotation))), None)


def storage_of(settings: TablesSettings) -> Mapping[str, str]:
    """The options with which an object store is reached, in clear: only delta-rs is given them."""
    return {name: value.get_secret_value() for name, value in settings.storage.items()}
