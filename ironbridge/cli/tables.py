"""The commands about the open tables."""

from __future__ import annotations

import csv
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from canonical.errors import MisconfiguredError
from ironbridge.cli import render
from ironbridge.cli.parts import FileOption, JsonOption, do, out, print_json, settings_of, with_state
from ironbridge.operate import audit
from ironbridge.operate.table_checks import of_tables
from ironbridge.store import Store
from ironbridge.tables import query, upkeep

tables_app = typer.Typer(
    no_args_is_help=True,
    help="""
    The open tables: every canonical entity as Delta Lake tables, for Power BI, Fabric, Spark, DuckDB and others.

    [bold]ironbridge run tables[/bold] writes them where the section [bold]\\[tables][/bold] says. Each entity has two: the latest
    state of each record (care_episode), and all its versions (care_episode_history). docs/open-tables.md has the columns.
    """,
)


class Shape(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"


@tables_app.command("list")
def list_tables(file: FileOption = None, as_json: JsonOption = False) -> None:
    """Show each table that is there: its rows, its files, their size, and when it was last written."""
    found = query.standings(settings_of(file).tables)
    if as_json:
        print_json(found)
        return
    made = render.table("Open tables", "table", "rows", "files", "MB", "last written", right=("rows", "files", "MB"))
    for each in found:
        written = f"{each.written:%Y-%m-%d %H:%M:%S UTC}" if each.written else ""
        made.add_row(each.name, f"{each.rows:,}", f"{each.files:,}", f"{each.bytes / 1e6:,.1f}", written)
    out.print(made)


@tables_app.command("check")
def check_tables(file: FileOption = None, as_json: JsonOption = False) -> None:
    """Look whether the place is reached and may be written to, and whether the tables' columns agree with the contracts."""
    found = list(of_tables(settings_of(file).tables))
    print_json(found) if as_json else render.findings(out, found)
    raise typer.Exit(0 if all(each.well for each in found) else 1)


@tables_app.command("query")
def query_tables(
    sql: Annotated[str, typer.Argument(help='DuckDB\'s SQL, in quotation marks: "SELECT …".')],
    file: FileOption = None,
    shape: Annotated[Shape, typer.Option("--format", help="How the rows are printed.")] = Shape.TABLE,
) -> None:
    """
    Ask the tables in SQL (DuckDB's), without a server. Nothing is changed.

    A table is a view of its name: person, person_history, care_episode; a table apart begins with apart_. Columns that begin with
    _ say where a row comes from: _version, _changed, _source, _owner; the others are the entity's fields.

      ironbridge tables query "SELECT _source, count(*) FROM person GROUP BY ALL"

      ironbridge tables query "SELECT line.net FROM (SELECT unnest(lines) AS line FROM invoice)" --format csv

      ironbridge tables query "DESCRIBE care_episode"
    """
    import duckdb

    connection = query.opened(settings_of(file).tables)
    try:
        found = connection.execute(sql)
        _print(shape, [each[0] for each in found.description or []], found)
    except duckdb.Error as error:  # the person who asked is shown what DuckDB says: it is their own words and data
        raise MisconfiguredError("tables query", str(error).strip(), fix="mend the SQL; `SHOW TABLES` names the tables") from None
    finally:
        connection.close()


def _print(shape: Shape, columns: list[str], found: Any) -> None:
    if shape is Shape.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        while some := found.fetchmany(10_000):
            writer.writerows(some)
        return
    made = render.table("", *columns) if columns else render.table("", "")
    for row in found.fetchmany(1_000):
        made.add_row(*("" if value is None else str(value) for value in row))
    out.print(made)
    if found.fetchone() is not None:
        out.print("Only the first 1,000 rows are shown; --format csv gives all of them.")


@tables_app.command("erase")
def erase(
    keys: Annotated[list[str], typer.Argument(help="Keys of records, e.g. liquidlogic:person:1042.")],
    why: Annotated[str, typer.Option("--why", help="The reason, which goes on record.")],
    file: FileOption = None,
) -> None:
    """
    Delete records and all that they own from every table, with all earlier versions, and the files that held them.

    A record that its legacy system still has comes back with its next change: let it be deleted there first.
    """

    async def work(store: Store) -> None:
        if not why.strip():
            raise MisconfiguredError("tables erase", "no reason is given", fix="say with --why what it is needed for")
        async with store.write() as connection:
            await audit.note(connection, audit.at_the_command_line(), audit.Action.ERASE, keys, why)
        count = sum(upkeep.erase(table, keys) for table in query.there(settings_of(file).tables))
        out.print(f"Deleted {count:,} rows, and the files that held them.")

    do(with_state(file, work))
