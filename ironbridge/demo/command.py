"""The command `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ironbridge.cli.parts import do, out


def demo(
    data: Annotated[Path, typer.Option(help="Where the demonstration keeps its world.")] = Path(".ironbridge/demo"),
    size: Annotated[
        list[str] | None, typer.Option(metavar="NAME=N", help="Records in a legacy system, e.g. `liquidlogic=400`. Repeatable.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Play this cloud system, too: `dataverse`, `fhir`. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 2026,
    traces: Annotated[bool, typer.Option(help="Print the trace of one change at the end.")] = True,
    console: Annotated[str, typer.Option(help="Serve the console there, e.g. 127.0.0.1:8080, and go on until Ctrl-C.")] = "",
) -> None:
    """
    Carry a small council's records from legacy systems to cloud systems, change some, and show what happens.

    All of it runs here: a Liquidlogic-shaped database, a drop folder, a broker, and sandboxes of the cloud systems. Kill it
    at any moment and start it again: it goes on where it was.
    """
    from ironbridge.demo.legacy import sizes_of
    from ironbridge.demo.play import play  # its sandboxes are not needed to run a bridge

    do(play(out, data, sizes=sizes_of(size or []), seed=seed, traces=traces, targets=target or [], console=console or None))
