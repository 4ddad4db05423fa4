"""The commands have this in common: where they print, the options that several take, the state that they look at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from canonical.errors import MisconfiguredError
from ironbridge.settings import FILE, Settings, load
from ironbridge.store import Upkeep, open_store

out = Console()
err = Console(stderr=True)

FileOption = Annotated[
    Path | None, typer.Option("--file", "-f", help=f"The settings file. [default: {FILE}]", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
RevealOption = Annotated[
    bool, typer.Option("--reveal", help="Show personal fields in clear; needs --why, and goes on record.")
]
WhyOption = Annotated[str, typer.Option("--why", help="The reason, which goes on record.")]


def settings_of(file: Path | None) -> Settings:
    if file is None and not Path(FILE).exists():
        raise MisconfiguredError(FILE, "is not here", fix="write one with `ironbridge init`, or name one with --file")
    return load(file)


def known(command: str, name: str, what: str, there: Sequence[str]) -> None:
    """:raises MisconfiguredError: the name is none of those that there are; it is `what`, as `no flow`, and they are named."""
    if name not in there:
        raise MisconfiguredError(command, f"{name} is {what}", fix=f"there are: {', '.join(there) or 'none'}")


def do(work: Coroutine[Any, Any, int | None]) -> None:
    raise typer.Exit(asyncio.run(work) or 0)


async def with_state(file: Path | None, work: Any) -> int | None:
    store = await open_store(settings_of(file).state_url, tables=Upkeep.NEED)
    try:
        status: int | None = await work(store)
        return status
    finally:
        await store.close()


_KEYS = {"holds": "held"}
"""Fields that scripts know by another name. In the code, a target holds documents, and the guard holds changes back."""


def plain(value: Any) -> Any:
    """Gives a value to `json.dumps` that this cannot write: a dataclass as its fields, anything else as a text."""
    if is_dataclass(value):
        return {_KEYS.get(each.name, each.name): getattr(value, each.name) for each in fields(value)}
    return str(value)


async def print_rows(pieces: AsyncIterator[Sequence[object]]) -> None:
    """Print a JSON array of any length, one row a line, while its rows are read."""
    between = "["
    async for rows in pieces:
        for row in rows:
            print(between, json.dumps(row, default=plain), sep="", file=out.file)
            between = ","
    print("]" if between == "," else "[]", file=out.file)


def print_json(value: object) -> None:
    out.print_json(json.dumps(value, default=plain))
