"""The commands for changes that the guard holds back: list them, let them through."""

from __future__ import annotations

from typing import Annotated

import typer

from canonical.errors import MisconfiguredError
from ironbridge.cli import render
from ironbridge.cli.parts import FileOption, JsonOption, do, err, known, out, print_json, settings_of, with_state
from ironbridge.operate import held
from ironbridge.operate.audit import at_the_command_line
from ironbridge.runtime import systems
from ironbridge.store import Store

held_app = typer.Typer()


@held_app.callback(invoke_without_command=True)
def held_back(context: typer.Context, file: FileOption = None, as_json: JsonOption = False) -> None:
    """The guard holds back deletions and changes that take much away at once. List them, or let them through with allow."""
    if context.invoked_subcommand is None:
        held_list(file, as_json)
    elif file or as_json:
        raise MisconfiguredError(
            "held", "its options stand before the command", fix=f"put them behind `held {context.invoked_subcommand}`"
        )


@held_app.command("list")
def held_list(file: FileOption = None, as_json: JsonOption = False) -> None:
    """List everything that is held back: the stream, the kind, the number of records, since when."""

    async def work(store: Store) -> None:
        rows = await held.entries(store)
        print_json(rows) if as_json else render.held(out, rows)

    do(with_state(file, work))


@held_app.command("allow")
def held_allow(
    name: Annotated[str, typer.Argument(help="The stream, e.g. `liquidlogic.person`.")],
    why: Annotated[str, typer.Option(help="The reason, which goes on record.")],
    what: Annotated[
        str | None,
        typer.Option(help="Let through only this kind, as `held` names it: `deleted`, `went back`, `emptied addresses`."),
    ] = None,
    extract: Annotated[
        str | None, typer.Option("--of-file", help="Let through only the changes of one file, by the mark that `held` shows.")
    ] = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Let through the changes of a stream that are held back: as many as are held now, and a tenth more, once. The running
    adapter publishes them with its next reading.
    """
    if not why.strip():
        raise MisconfiguredError("held allow", "no reason is given", fix="say with --why how you know that it is right")
    settings = settings_of(file)
    known("held allow", name, "no stream", systems.stream_names(settings))

    async def work(store: Store) -> int:
        let = await held.allow(store, at_the_command_line(), name, why, what=what, file=extract)
        if as_json:
            print_json(let)
        for row in [] if as_json else let:
            out.print(f"{name}: {row.told}: let through. It is published with the next reading.", markup=False)
        if not let:
            err.print(
                "No such change is held back, or it was let through already. See `ironbridge held`.", markup=False
            )
        return 0 if let else 1

    do(with_state(file, work))
