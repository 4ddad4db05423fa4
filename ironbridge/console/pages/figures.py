"""Figures: management information with a date range, a chart, and the rows behind each number."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from canonical.errors import MisconfiguredError
from ironbridge.console.access import Right
from ironbridge.console.asked import text_of
from ironbridge.console.bars import bar_chart
from ironbridge.console.page import ConsolePage, Entry, Form
from ironbridge.console.room import actor, room_of
from ironbridge.console.shown import NO_REASON, ROWS, show
from ironbridge.figures.figure import Figure, figures
from ironbridge.figures.opening import lacks_set_up, reader
from ironbridge.figures.reading import Behind, DateRange, FigureReader, last_twelve_months
from ironbridge.figures.sheet import csv_pieces
from ironbridge.operate import audit

_LONDON = ZoneInfo("Europe/London")


@dataclass(frozen=True, slots=True)
class Question:
    """A question that an address or a form asks: a figure, its days, and which of its rows. An address holds its `texts`."""

    figure: Figure
    days: DateRange
    behind: Behind

    @property
    def texts(self) -> dict[str, str]:
        days = {"from": self.days.first.isoformat(), "to": self.days.last.isoformat()}
        return days | ({"number": self.behind.number} if self.behind.number else {}) | dict(self.behind.group)

    @property
    def named(self) -> str:
        """The rows that are asked for, as the audit trail names them."""
        group = [f"{name} {value}" for name, value in self.behind.group.items()]
        return ", ".join([f"figure {self.figure.name}, {self.days.first} to {self.days.last}", *group])

    def address(self, path: str = "", **more: str) -> str:
        return f"/figures/{self.figure.name}{path}?{urlencode(self.texts | more)}"

    def cell(self, record: Mapping[str, Any], number: str) -> str:
        """The address of the rows behind one number of one group."""
        return self.address("/rows", number=number, **{name: str(record[name]) for name in self.figure.by})


def _asked(request: Request, given: Mapping[str, Any]) -> Question:
    """:raises HTTPException: 404, there is no such figure. :raises MisconfiguredError: the days are none."""
    found = figures().get(request.path_params["figure"])
    if found is None:
        raise HTTPException(404, "There is no figure of that name here.")
    usual = last_twelve_months(datetime.now(_LONDON).date())
    days = DateRange(_day(given, "from", usual.first), _day(given, "to", usual.last))
    group = {name: str(given[name])[:500] for name in found.by if name in given}
    return Question(found, days, Behind(group, str(given.get("number", ""))[:100]))


def _day(given: Mapping[str, Any], name: str, usual: date) -> date:
    try:
        return date.fromisoformat(str(given.get(name) or usual))
    except ValueError:
        raise MisconfiguredError("figures", f"the day in `{name}` is no date", fix="write it as 2026-03-31") from None


async def every(request: Request) -> Response:
    lacking = lacks_set_up(room_of(request).built.settings)
    return show(request, "figures/every.html", figures=figures().values(), lacking=lacking)


async def look(request: Request) -> Response:
    try:
        asked, error = _asked(request, request.query_params), ""
    except MisconfiguredError as mistake:
        asked, error = _asked(request, {}), f"{mistake.what}. {mistake.fix}"
    told: dict[str, Any] = {"asked": asked, "figure": asked.figure, "error": error, "lacking": ""}
    try:
        sheet = await asyncio.to_thread((await _reader(request, asked)).numbers, asked.figure, asked.days)
    except MisconfiguredError as mistake:
        return show(request, "figures/page.html", **told | {"lacking": str(mistake)})
    chart = bar_chart(asked.figure, sheet)
    return show(request, "figures/page.html", 422 if error else 200, **told, sheet=sheet, chart=chart)


async def _reader(request: Request, asked: Question) -> FigureReader:
    room = room_of(request)
    return await reader(room.built.settings, room.store, asked.figure)


async def rows(request: Request) -> Response:
    return await _rows(request, _asked(request, request.query_params), reveal=False)


async def _rows(request: Request, asked: Question, *, reveal: bool, status: int = 200, error: str = "") -> Response:
    reading = await _reader(request, asked)
    count = await asyncio.to_thread(reading.count, asked.figure, asked.days, asked.behind)
    sheet = await asyncio.to_thread(reading.rows, asked.figure, asked.days, asked.behind, reveal=reveal, most=ROWS)
    told = {"asked": asked, "figure": asked.figure, "sheet": sheet, "count": count, "revealed": reveal, "error": error}
    return show(request, "figures/rows.html", status, **told)


async def numbers_file(request: Request) -> Response:
    asked = _asked(request, request.query_params)
    sheet = await asyncio.to_thread((await _reader(request, asked)).numbers, asked.figure, asked.days)
    return _file(asked, "numbers", csv_pieces(sheet.columns, [sheet.lines]))


async def rows_file(request: Request) -> Response:
    """The rows behind a number, with personal fields hidden."""
    return await _rows_file(request, _asked(request, request.query_params), reveal=False)


async def _rows_file(request: Request, asked: Question, *, reveal: bool) -> Response:
    reading = await _reader(request, asked)
    pieces = reading.pieces(asked.figure, asked.days, asked.behind, reveal=reveal)
    return _file(asked, "rows", csv_pieces(tuple(asked.figure.columns), pieces))


def _file(asked: Question, what: str, content: Any) -> Response:
    name = f"{asked.figure.name}-{what}-{asked.days.first}-{asked.days.last}.csv"
    return StreamingResponse(content, media_type="text/csv", headers={"content-disposition": f'attachment; filename="{name}"'})


async def reveal(request: Request, form: FormData) -> Response:
    """Show rows with their personal fields, or give them as a file, to somebody who has the right and says why."""
    asked, why = _asked(request, form), text_of(form, "why")
    if not why:
        return await _rows(request, asked, reveal=False, status=422, error=NO_REASON)
    await audit.reveal(room_of(request).store, actor(request), [asked.named], why)
    if text_of(form, "as") == "file":
        return await _rows_file(request, asked, reveal=True)
    return await _rows(request, asked, reveal=True)


PAGE = ConsolePage(
    {
        "/figures": every, "/figures/{figure}": look, "/figures/{figure}/numbers.csv": numbers_file,
        "/figures/{figure}/rows": rows, "/figures/{figure}/rows.csv": rows_file,
    },
    [Form("/figures/{figure}/reveal", Right.REVEAL, reveal)],
    Entry(75, "/figures", "Figures"),
)  # fmt: skip
