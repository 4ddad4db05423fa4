"""The commands that look at a legacy system through its adapter, and write nothing: `try` and `profile`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from itertools import zip_longest
from typing import Annotated, Any

import typer
from rich import box
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from adapters.port import Adapter, Push, Stream
from ironbridge.cli.parts import (
    FileOption,
    JsonOption,
    RevealOption,
    WhyOption,
    do,
    err,
    known,
    out,
    settings_of,
    with_state,
)
from ironbridge.cli.story import lines
from ironbridge.operate import audit
from ironbridge.operate.insight import masked, shown
from ironbridge.operate.source import MANY, StreamProfile, TriedRow, profiled, tried
from ironbridge.runtime import systems
from ironbridge.settings import Settings

AdapterArgument = Annotated[str, typer.Argument(help="The adapter, as its section in the settings is called.")]
StreamArgument = Annotated[str | None, typer.Argument(help="One of its streams. [default: all]", show_default=False)]


def add_to(app: typer.Typer) -> None:
    app.command("try")(try_rows)
    app.command()(profile)


def try_rows(
    adapter: AdapterArgument,
    stream: StreamArgument = None,
    rows: Annotated[int, typer.Option(min=1, help="So many rows of each stream.")] = 5,
    file: FileOption = None,
    as_json: JsonOption = False,
    reveal: RevealOption = False,
    why: WhyOption = "",
) -> None:
    """
    Show the first rows of a legacy system, each beside the record that it becomes, or with the reason why it becomes none.

    Nothing is written or published, and neither the state nor Kafka is needed. Values are shown by their shape, personal fields
    are hidden; --reveal shows them, and goes on record.
    """

    async def work() -> int:
        settings = settings_of(file)
        made, streams = _chosen(settings, "try", adapter, stream)
        if reveal:
            await with_state(file, lambda store: audit.reveal(store, audit.at_the_command_line(), [f"rows of {adapter}"], why))
        found: list[TriedRow] = []
        for each in streams:
            some = await tried(made, each, rows)
            found += some
            if not as_json:
                _print(each, some, reveal=reveal)
        if as_json:
            out.print_json(json.dumps([_as_json(each, reveal=reveal) for each in found], default=str))
        return int(any(each.fault is not None for each in found))

    do(work())


def profile(
    adapter: AdapterArgument, stream: StreamArgument = None, file: FileOption = None, as_json: JsonOption = False
) -> None:
    """
    Read all rows of a legacy system, and tell what they hold: how full each column is and how many values it has, how full each
    field of the records becomes, and which rules are broken how often. Made for the meeting about a mapping. Writes nothing.
    """

    async def work() -> int:
        made, streams = _chosen(settings_of(file), "profile", adapter, stream)
        found = []
        rows = (TextColumn("{task.description}"), TextColumn("{task.completed:,} rows"), TimeElapsedColumn())
        with Progress(SpinnerColumn(), *rows, console=err, transient=True) as progress:
            for each in streams:
                task = progress.add_task(f"{adapter}.{each.name}", total=None)
                found.append(await profiled(made, each, partial(progress.advance, task)))
                progress.remove_task(task)
        if as_json:
            out.print_json(json.dumps([_profile_as_json(each) for each in found]))
        else:
            for told in found:
                _print_profile(told)
        return 0

    do(work())


def _chosen(settings: Settings, command: str, name: str, stream: str | None) -> tuple[Adapter, Sequence[Stream]]:
    plans = systems.adapters(settings)
    known(command, name, "no adapter", list(plans))
    adapter = plans[name].adapter
    streams = {each.name: each for each in adapter.streams()}
    if stream is not None:
        known(command, stream, f"no stream of {name}", list(streams))
    return adapter, [streams[stream]] if stream is not None else list(streams.values())


def _print(stream: Stream, some: Sequence[TriedRow], *, reveal: bool) -> None:
    out.rule(f"[bold]{stream.name}", align="left")
    if not some:
        sends = isinstance(stream.reading, Push)
        out.print("  sends its records by itself: nothing can be read ahead" if sends else "  holds no rows")
    for each in some:
        _print_one(each, reveal=reveal)


def _print_one(each: TriedRow, *, reveal: bool) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=each.key, title_justify="left", title_style="bold")
    table.add_column("row, as read", overflow="fold")
    table.add_column("" if each.made is None else f"{each.made.kind.type_name}, as published", overflow="fold")
    read = [f"{name}: {shown(value, reveal=reveal)}" for name, value in each.row]
    becomes = lines(_published(each, reveal=reveal))
    for left, right in zip_longest(read, becomes, fillvalue=""):
        table.add_row(Text(left), Text(right))
    out.print(table)
    if each.fault is not None:
        out.print(Text.assemble(("  not published: ", "bold red"), str(each.fault)))
    if each.lacks is not None:
        out.print(Text.assemble(("  incomplete: ", "yellow"), str(each.lacks)))


def _published(each: TriedRow, *, reveal: bool) -> dict[str, Any]:
    """Return the published fields under their event's owner. Events of one owner stay in order."""
    if each.made is None:
        return {}
    return {"owner": each.made.owner, **masked(each.made.kind.type_name, each.fields, reveal=reveal)}


def _as_json(each: TriedRow, *, reveal: bool) -> dict[str, Any]:
    return {
        "stream": each.stream,
        "key": each.key,
        "row": {name: shown(value, reveal=reveal) for name, value in each.row},
        "type": None if each.made is None else each.made.kind.type_name,
        "entity": _published(each, reveal=reveal),
        "fault": None if each.fault is None else str(each.fault),
        "incomplete": None if each.lacks is None else str(each.lacks),
    }


def _print_profile(profile: StreamProfile) -> None:
    out.rule(f"[bold]{profile.stream}", align="left")
    out.print(f"  {profile.rows:,} rows, {profile.records:,} of them become records")
    read = Table("column", "filled", "", "distinct", box=box.SIMPLE_HEAD)
    for column in profile.columns.values():
        many = len(column.distinct) > MANY
        distinct = f"more than {MANY:,}" if many else f"{len(column.distinct):,}"
        read.add_row(column.name, f"{column.filled:,}", _bar(column.filled, profile.rows), distinct)
    out.print(read)
    becomes = Table("field of the record", "filled", "", box=box.SIMPLE_HEAD)
    for name, filled in profile.fields.items():
        becomes.add_row(name, f"{filled:,}", _bar(filled, profile.records))
    out.print(becomes)
    if profile.faults:
        broken = Table("rows", "field", "rule that they break", box=box.SIMPLE_HEAD)
        for (name, rule), count in profile.faults.most_common():
            broken.add_row(f"{count:,}", name, rule)
        out.print(broken)


def _bar(some: int, every: int) -> Text:
    """Show a share as a bar and in per cent."""
    share = some / every if every else 0
    return Text(f"{'█' * round(20 * share):<20} {share:.0%}")


def _profile_as_json(profile: StreamProfile) -> dict[str, Any]:
    return {
        "stream": profile.stream,
        "rows": profile.rows,
        "records": profile.records,
        "columns": [{"name": c.name, "filled": c.filled, "distinct": len(c.distinct)} for c in profile.columns.values()],
        "fields": dict(profile.fields),
        "faults": [{"field": f, "rule": rule, "rows": n} for (f, rule), n in profile.faults.most_common()],
    }
