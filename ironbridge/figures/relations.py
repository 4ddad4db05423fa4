"""
Makes the relations that a figure's SQL names out of the open tables: an entity's table with what stands apart of it, without
rows if there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from canonical import ENTITIES
from canonical.entity import Sensitivity, classified
from canonical.errors import MisconfiguredError
from ironbridge.figures.figure import Figure
from ironbridge.tables.schema import schema_of

APART = "apart_"
"""The beginning of the view of an entity's table apart."""
_HELD = "held_"


def complete(connection: Any, of: Figure) -> list[str]:
    """
    Complete the views of a connection for a figure; returns the entities that have no table yet.

    :raises MisconfiguredError: the tables leave out fields that the figure reads.
    """
    missing = []
    for relation, entity in of.entities.items():
        held = _columns(connection, relation)
        if not held:
            connection.register(relation, schema_of(ENTITIES[entity]).empty_table())
            missing.append(entity)
            continue
        if apart := _columns(connection, APART + relation):
            _join(connection, relation, [name for name in held if name not in apart])
        _insist(of, entity, {*held, *apart})
    return missing


def _columns(connection: Any, relation: str) -> list[str]:
    found = connection.execute("SELECT column_name FROM duckdb_columns() WHERE table_name = $1 ORDER BY column_index", [relation])
    return [name for (name,) in found.fetchall()]


def _join(connection: Any, relation: str, own: list[str]) -> None:
    """The table and the table apart as one, by their key; what both have is taken from the table apart, which has more of it."""
    connection.execute(f"ALTER VIEW {relation} RENAME TO {_HELD}{relation}")
    columns = "".join(f', h."{name}"' for name in own)
    joined = f"{_HELD}{relation} h JOIN {APART}{relation} a ON a.key = h.key"
    connection.execute(f"CREATE TEMP VIEW {relation} AS SELECT a.*{columns} FROM {joined}")  # noqa: S608 (names of ours)


def left_out(connection: Any, of: Figure) -> MisconfiguredError:
    """The fault of tables that lack a field which the figure's SQL names, or a part of one."""
    words = set(re.findall(r"\w+", of.sql))
    for relation, entity in of.entities.items():
        there = {*_columns(connection, relation)}
        if lacking := [name for name in ENTITIES[entity].model_fields if name in words and name not in there]:
            return _lacks(of, entity, lacking)
    fix = "let `tables.hold` or `tables.apart` name more classes of fields, and make the tables anew"
    return MisconfiguredError(f"figure {of.name}", "the open tables leave out parts of fields that it reads", fix=fix)


def _insist(of: Figure, entity: str, there: set[str]) -> None:
    if lacking := [name for name in _read(of, entity) if name not in there]:
        raise _lacks(of, entity, lacking)


def _lacks(of: Figure, entity: str, lacking: list[str]) -> MisconfiguredError:
    kinds = ", ".join(sorted({kind for name in lacking if (kind := _kind(entity, name))}))
    return MisconfiguredError(
        f"figure {of.name}", f"the open tables leave {', '.join(lacking)} of {entity} out",
        fix=f"let `tables.hold` name their classes too ({kinds}), or `tables.apart`, and make the tables anew",
    )  # fmt: skip


def _read(of: Figure, entity: str) -> Iterator[str]:
    """The entity's fields that the figure is sure to read: those from which a column of its rows comes."""
    fields = {field.partition(".")[2].partition("[")[0] for field in of.columns.values() if field.startswith(f"{entity}.")}
    return (name for name in ENTITIES[entity].model_fields if name in fields)


def _kind(entity: str, name: str) -> str:
    kinds = {kind for path, kind in classified(ENTITIES[entity]) if re.match(rf"{name}\b", path) and kind}
    return ", ".join(sorted(kinds - {Sensitivity.PLAIN}))
