"""The commands that show figures: `figures list` and `figures show`."""

from __future__ import annotations

import sys
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from canonical.errors import MisconfiguredError
from ironbridge.cli.parts import FileOption, RevealOption, WhyOption, do, out, settings_of
from ironbridge.figures.figure import Figure, figure, figures
from ironbridge.figures.opening import reader
from ironbridge.figures.reading import Behind, DateRange, FigureReader, last_twelve_months
from ironbridge.figures.sheet import csv_pieces
from ironbridge.operate import audit
from ironbridge.store import Upkeep, open_store

figures_app = typer.Typer(no_args_is_help=True, help="Management information over the open tables: list the figures, show one.")


class FigureFormat(StrEnum):
    TABLE = "table"
    CSV = "csv"


_FROM = typer.Option("--from", help="The first day, as 2026-04-01. [default: twelve months ago]", show_default=False)
_TO = typer.Option("--to", help="The last day. [default: today]", show_default=False)


@figures_app.command("list")
def list_figures() -> None:
    """Show the figures that ship, with what each counts and by what."""
    table = Table("figure", "what it shows", "counts", "by", box=box.SIMPLE)
    for each in figures().values():
        table.add_row(each.name, each.title, each.unit, ", ".join(each.by))
    out.print(table)


@figures_app.command("show")
def show_figure(
    name: Annotated[str, typer.Argument(help="The figure, as `figures list` names it.")],
    first: Annotated[str | None, _FROM] = None,
    last: Annotated[str | None, _TO] = None,
    form: Annotated[FigureFormat, typer.Option("--format", help="A table for people, or CSV.")] = FigureFormat.TABLE,
    rows: Annotated[bool, typer.Option("--rows", help="Show the rows behind the numbers.")] = False,
    file: FileOption = None,
    reveal: RevealOption = False,
    why: WhyOption = "",
) -> None:
    """Show a figure for some days, or the rows behind its numbers. Both days count."""
    days, of = _days(first, last), figure(name)

    async def work() -> None:
        settings = settings_of(file)
        store = await open_store(settings.state_url, tables=Upkeep.NEED)
        try:
            reading = await reader(settings, store, of)
            if rows and reveal:
                what = f"rows of the figure {of.name}, {days.first} to {days.last}"
                await audit.reveal(store, audit.at_the_command_line(), [what], why)
        finally:
            await store.close()
        _print(reading, of, days, form, rows=rows, reveal=reveal)

    do(work())


def _print(reading: FigureReader, of: Figure, days: DateRange, form: FigureFormat, *, rows: bool, reveal: bool) -> None:
    pieces = reading.pieces(of, days, Behind(), reveal=reveal) if rows else iter(())
    numbers = None if rows else reading.numbers(of, days)
    columns = numbers.columns if numbers else tuple(of.columns)
    lines = [numbers.lines] if numbers else pieces
    if form is FigureFormat.CSV:
        for text in csv_pieces(columns, lines):
            sys.stdout.write(text)
        return
    table = Table(*columns, box=box.SIMPLE, title=of.title)
    for some in lines:
        for line in some:
            table.add_row(*("—" if value is None else str(value) for value in line))
    out.print(table)


def _days(first: str | None, last: str | None) -> DateRange:
    """:raises MisconfiguredError: one of them is no date."""
    usual = last_twelve_months(datetime.now().astimezone().date())
    try:
        return DateRange(
            date.fromisoformat(first) if first else usual.first, date.fromisoformat(last) if last else usual.last
        )
    except ValueError:
        raise MisconfiguredError("figures", "a day is no date", fix="write --from and --to as 2026-03-31") from None
