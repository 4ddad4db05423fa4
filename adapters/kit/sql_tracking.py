"""
SQL Server's change tracking as the cursor of a tail: the database itself notes the keys of the rows that were written.

It is turned on for the database and for each table (`ALTER TABLE … ENABLE CHANGE_TRACKING`), and asked by three functions:

| function | says |
|---|---|
| CHANGE_TRACKING_CURRENT_VERSION() | the version of the last transaction that committed |
| CHANGETABLE(CHANGES table, version) | the primary keys of the rows that were written in later versions |
| CHANGE_TRACKING_MIN_VALID_VERSION(table) | the oldest version from which on the notes are whole: older ones are cleared away |

A transaction is given its version when it commits, so no change comes into sight behind a version that was asked for. A cursor
older than the notes says nothing any more: then all rows are read, as by a sweep. A row that was deleted has its key in the
notes and nothing else: the sweep behind the tail finds that it is gone.

No SQL Server was run here: the statements are compiled and checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Unicode, and_, cast, column, exists, func, literal, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import quoted_name
from sqlalchemy.sql.expression import TableClause
from sqlalchemy.sql.visitors import InternalTraversal

from adapters.kit.sql_reading import Reading, Tracked
from adapters.kit.sql_session import SqlSession
from canonical.errors import MisconfiguredError


class TrackedTable(ColumnElement[Any]):
    """The argument of CHANGETABLE: the word CHANGES and the table's name, as the statement around it writes the table."""

    inherit_cache = True
    _traverse_internals = [("of", InternalTraversal.dp_clauseelement)]  # noqa: RUF012 - as SQLAlchemy declares it

    def __init__(self, of: TableClause) -> None:
        self.of = of


@compiles(TrackedTable)
def _written(element: TrackedTable, compiler: SQLCompiler, **_: Any) -> str:
    return f"CHANGES {compiler.preparer.format_table(element.of)}"


def since(tracked: Tracked, version: int) -> ColumnElement[bool]:
    """The condition of the rows that were written in a later version. The number stands in the text: it is our own cursor's."""
    names = [quoted_name(str(each.name), getattr(each.name, "quote", None)) for each in tracked.columns]
    asked = func.CHANGETABLE(TrackedTable(tracked.table), literal_column(str(int(version))))
    notes = asked.table_valued(*[column(name) for name in names], name="CT")
    same = [notes.c[str(name)] == each for name, each in zip(names, tracked.columns, strict=True)]
    return exists(select(literal_column("1")).select_from(notes).where(and_(*same)))


@dataclass(frozen=True, slots=True)
class Notes:
    """
    Change tracking said this: the last version that committed, and the oldest from which on all tables' notes are whole.
    `missing` are the tables that are not tracked, as far as our login can see.
    """

    last: int
    oldest: int
    missing: tuple[TableClause, ...] = ()


def tables_of(reading: Reading) -> list[TableClause]:
    """The tables of a reading that have to be tracked: its own, those of its parts, and the one that its rows move to."""
    tracked = [each.table for each in reading.versions if isinstance(each, Tracked)]
    return tracked if reading.moves_to is None or not tracked else [*tracked, reading.moves_to]


def asking(tables: Sequence[TableClause]) -> Any:
    """Ask for the last version, whether the database only follows another one, and each table's oldest version."""
    follows = cast(func.DATABASEPROPERTYEX(func.DB_NAME(), "Updateability"), Unicode(60))
    oldest = [func.CHANGE_TRACKING_MIN_VALID_VERSION(func.OBJECT_ID(literal(str(each)))) for each in tables]
    return select(func.CHANGE_TRACKING_CURRENT_VERSION(), follows, *oldest)


async def notes_of(session: SqlSession, tables: Sequence[TableClause]) -> Notes:
    """
    Ask the database what it notes of changes.

    :raises MisconfiguredError: the database is not tracked, or only follows another one.
    """
    async with session.connection(", ".join(map(str, tables))) as connection:
        last, follows, *oldest = (await connection.execute(asking(tables))).one()
    if follows == "READ_ONLY":
        what = "the database is read-only, and change tracking is read in the one that it follows"
        raise MisconfiguredError(session.where, what, fix="name the primary server in `url`")
    if last is None:
        fix = "ask for ALTER DATABASE … SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS, AUTO_CLEANUP = ON)"
        raise MisconfiguredError(session.where, "change tracking is not on in the database", fix=fix)
    missing = tuple(each for each, said in zip(tables, oldest, strict=True) if said is None)
    return Notes(int(last), max((int(said) for said in oldest if said is not None), default=0), missing)


def untracked(session: SqlSession, notes: Notes) -> Iterator[MisconfiguredError]:
    """The errors of the tables that are not tracked."""
    for each in notes.missing:
        user = session.settings.login(session.where).user or "our login"
        fix = f"ask for ALTER TABLE {each} ENABLE CHANGE_TRACKING and GRANT VIEW CHANGE TRACKING ON {each} TO {user}"
        yield MisconfiguredError(session.where, f"{each}: its changes are not tracked, or we may not see them", fix=fix)
