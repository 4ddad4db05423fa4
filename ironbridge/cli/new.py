"""The command `new`: packages for authors, each with a suite that it passes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from sqlalchemy import make_url

from adapters.kit.sql import SqlSettings
from canonical import ENTITIES, Entity
from canonical.errors import MisconfiguredError
from ironbridge.cli.parts import err, known, out
from ironbridge.runtime.installed import TARGETS, found
from ironbridge.scaffold.adapter import (
    CsvPackage,
    DebeziumPackage,
    ListPackage,
    MessagesPackage,
    OperationPackage,
    SqlPackage,
)
from ironbridge.scaffold.flow import FlowPackage
from ironbridge.scaffold.package import Scaffold, may_be_called, write
from ironbridge.scaffold.source import FoundTable, look
from ironbridge.scaffold.source_files import look_at
from ironbridge.scaffold.target import RecordsPackage
from ironbridge.scaffold.toml_flow import TomlFlowFiles
from ironbridge.settings import explained

new_app = typer.Typer(no_args_is_help=True, help="Write a package of your own, an adapter, a flow or a target, with tests.")
IntoOption = Annotated[Path, typer.Option(help="The folder in which the package's folder is made.")]


class SourceKind(StrEnum):
    """Ways in which a legacy system is read."""

    SQL = "sql"
    FILES = "files"
    REST = "rest"
    SOAP = "soap"
    HL7 = "hl7"
    DEBEZIUM = "debezium"


_EXAMPLES: dict[SourceKind, type[ListPackage | OperationPackage | MessagesPackage | DebeziumPackage]] = {
    SourceKind.REST: ListPackage, SourceKind.SOAP: OperationPackage, SourceKind.HL7: MessagesPackage,
    SourceKind.DEBEZIUM: DebeziumPackage,
}  # fmt: skip


@new_app.command()
def adapter(
    name: Annotated[str, typer.Argument(help="The system's name: of the package, and the source in its keys.")],
    kind: Annotated[SourceKind, typer.Option(help="How the system is read.")] = SourceKind.SQL,
    table: Annotated[list[str] | None, typer.Option(help="A table or view to read; give it once for each.")] = None,
    url: Annotated[
        str | None,
        typer.Option(envvar="IRONBRIDGE_SOURCE_URL", help="The source, e.g. postgresql://reader@host/database; only read."),
    ] = None,
    schema: Annotated[str | None, typer.Option(help="The schema that its tables lie in.")] = None,
    file: Annotated[list[Path] | None, typer.Option(help="A CSV file that it leaves, for --kind files; once for each.")] = None,
    into: IntoOption = Path(),
) -> None:
    """
    Write a package for a legacy system: code, README, a sample of its settings, and the suite that every adapter passes.

    With --url and --table the tables are looked at: columns, types, keys and the number of rows are the source's, and what they
    mean is guessed by their names; with --kind files and --file, the files. Every guess is marked. Without them, and for a
    service (rest, soap, hl7, debezium), an example is written.
    """
    package: SqlPackage | CsvPackage | ListPackage | OperationPackage | MessagesPackage | DebeziumPackage
    if kind is SourceKind.SQL:
        package = _of_database(name, url, table, schema)
    elif url is not None or table:
        raise MisconfiguredError("new adapter", "--url and --table are for --kind sql", fix="leave them out")
    elif kind is SourceKind.FILES:
        package = CsvPackage(name, tuple(look_at(file))) if file else CsvPackage(name)
    else:
        package = _EXAMPLES[kind](name)
    if file and kind is not SourceKind.FILES:
        raise MisconfiguredError("new adapter", "--file is for --kind files", fix="say --kind files")
    _written(package, into, "new adapter")
    _say(package.tables)
    _next(name, into)


def _of_database(name: str, url: str | None, table: list[str] | None, schema: str | None) -> SqlPackage:
    if (url is None) != (not table):
        raise MisconfiguredError("new adapter", "--url and --table go together", fix="give both, or none of them for an example")
    if url is None:
        return SqlPackage(name)
    tables = asyncio.run(look(_settings(url, schema), table or []))
    return SqlPackage(name, tuple(tables), _without_password(url), schema)


@new_app.command()
def target(
    name: Annotated[str, typer.Argument(help="The cloud system's name: of the package, and of its kind in settings.")],
    into: IntoOption = Path(),
) -> None:
    """
    Write a package for a cloud system whose API has one record a document: code, the flow that ships with it, a sandbox,
    README, a sample of its settings, and the suite that every target passes. What is to be looked at is marked as a guess.
    """
    _written(RecordsPackage(name), into, "new target")
    _next(name, into)


@new_app.command()
def flow(
    name: Annotated[str, typer.Argument(help="The flow's name: of the package, and of its section in settings.")],
    to: Annotated[str, typer.Option("--target", help="The kind of target that it is for, e.g. business_central.")],
    entity: Annotated[list[str], typer.Option(help="A type of the facts it looks at, e.g. supplier; the first is its subject.")],
    kind: Annotated[str, typer.Option(help="The kind of document, as the target's README calls it; else the entity's.")] = "",
    toml: Annotated[bool, typer.Option("--toml", help="No code: a section of the settings file, and a test beside it.")] = False,
    into: IntoOption = Path(),
) -> None:
    """
    Write a package for what a target should hold, as your council has agreed it: code, README, a sample of its settings, and a
    test: facts in, document out. The names in the document are guesses, and marked as such.

    With --toml the flow is a section at the end of ironbridge.toml: that is enough for renaming, constants, code maps and
    conditions.
    """
    known("new flow", to, "no kind of target", sorted(found(TARGETS)))
    for each in entity:
        known("new flow", each, "no entity", sorted(ENTITIES))
    entities = [ENTITIES[each] for each in entity]
    if toml:
        _declared(name, entities, to, kind or entity[0], into)
        return
    _written(FlowPackage(name, entities, to, kind or entity[0]), into, "new flow")
    _next(name, into)


def _declared(name: str, entities: Sequence[type[Entity]], to: str, kind: str, into: Path) -> None:
    if len(entities) > 1:
        fix = "name the first one, and write the others under `also`, as docs/flows-in-toml.md shows"
        raise MisconfiguredError("new flow", "--toml takes one --entity", fix=fix)
    may_be_called(name, "new flow")
    file, test = TomlFlowFiles(name, entities[0], to, kind).write(into)
    out.print(f"{file}\n{test}", highlight=False, soft_wrap=True)
    err.print(f"[green]✓[/green] next: look at each guess, then pytest {test}, ironbridge check, ironbridge plan {name}")


def _written(package: Scaffold, into: Path, command: str) -> None:
    for path in write(package, into, command):
        out.print(str(path), highlight=False, soft_wrap=True)


def _next(name: str, into: Path) -> None:
    err.print(f"[green]✓[/green] next: pip install -e '{into / name}\\[test]', then pytest {into / name}")


def _say(tables: Sequence[FoundTable]) -> None:
    for each in tables:
        key = f"key {', '.join(each.key)}" + (" (a guess)" if each.key_guessed else "")
        rows = "" if each.rows is None else f", {each.rows:,} rows"
        err.print(f"{each.name}: {len(each.columns)} columns, {key}{rows}", highlight=False)


def _settings(url: str, schema: str | None) -> SqlSettings:
    try:
        return SqlSettings.model_validate({"url": url, "schema": schema})
    except ValidationError as error:
        raise explained("new adapter", error, SqlSettings) from None


def _without_password(url: str) -> str:
    return make_url(url).set(password=None).difference_update_query(["wallet_password"]).render_as_string()
