"""
The command line. Exit status: 0 well, 1 something needs a person (a difference, a failed check), 2 a wrong command or
setting, 3 something is unavailable.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from canonical.errors import MisconfiguredError
from ironbridge.cli import render, source, steer
from ironbridge.cli.figures import figures_app
from ironbridge.cli.new import new_app
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
from ironbridge.cli.sample import sample
from ironbridge.cli.steer import FlowArgument
from ironbridge.cli.tables import tables_app
from ironbridge.console import serve
from ironbridge.observe import spans, telemetry
from ironbridge.observe.log_lines import log_to_stderr
from ironbridge.operate import audit, gauges, insight
from ironbridge.operate.absence import absent
from ironbridge.operate.checks import findings
from ironbridge.runtime import bridge, systems
from ironbridge.settings import FILE, HttpSettings, load
from ironbridge.store import Store, Upkeep, open_store, schema

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="""
    Keeps a council's cloud systems in agreement with its legacy systems, through Kafka and one canonical schema.

    Start with [bold]ironbridge demo[/bold]: it needs nothing. Then [bold]init[/bold] writes a settings file, [bold]check[/bold]
    looks at everything that it names, [bold]plan[/bold] shows what would be written, and [bold]run[/bold] does it.
    """,
)
contracts_app = typer.Typer(no_args_is_help=True, help="The canonical events' schemas: export them, check them.")
app.add_typer(contracts_app, name="contracts")
app.add_typer(new_app, name="new")
app.add_typer(figures_app, name="figures")
app.add_typer(tables_app, name="tables")
source.add_to(app)
steer.add_to(app)


@app.command()
def init(
    file: Annotated[Path, typer.Option("--file", "-f", help="Where to write it.")] = Path(FILE),
    force: Annotated[bool, typer.Option(help="Overwrite what is there.")] = False,
) -> None:
    """Write a settings file that explains itself, with a section for each system that is installed."""
    if file.exists() and not force:
        raise MisconfiguredError(str(file), "is there already", fix="give --force, or another name with --file")
    file.write_text(sample(), encoding="utf-8")
    out.print(f"Wrote [bold]{file}[/bold]. Fill in what you have, then run [bold]ironbridge check[/bold].")


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(help="Adapters, targets and flows to look at. [default: all, the state and Kafka]")
    ] = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at settings, connections and permissions, changing nothing; each thing that is not well comes with its fix."""

    async def work() -> int:
        found = [finding async for finding in findings(settings_of(file), names or ())]
        if as_json:
            out.print_json(json.dumps([{"what": f.what, "well": f.well, "fix": f.fix} for f in found]))
        else:
            render.findings(out, found)
        return 0 if all(f.well for f in found) else 1

    do(work())


@app.command()
def migrate(file: FileOption = None) -> None:
    """
    Bring the state's tables up to date. `run` does this, too, when it starts; no other command ever changes them.

    The settings file may be missing if IRONBRIDGE_STATE__URL says where the state is. A process of the release before works on.
    """

    async def work() -> None:
        settings = load(file) if file or os.environ.get("IRONBRIDGE_STATE__URL") else settings_of(file)
        store = await open_store(settings.state_url)
        await store.close()
        out.print(f"The state's tables are ready for this release (schema {schema.known()[-1]}).")

    do(work())


@app.command()
def run(
    names: Annotated[list[str] | None, typer.Argument(help="Adapters and flows to run. [default: all]")] = None,
    file: FileOption = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """
    Run adapters and flows, all in one process or the named ones, until it is told to stop.

    Each adapter and each flow can be a deployment of its own. A restart is safe at any time.
    """
    level = logging.DEBUG if verbose else logging.INFO
    log_to_stderr(level)

    async def work() -> None:
        settings = settings_of(file)
        log_to_stderr(level, settings.telemetry.logs)
        flush = telemetry.start(settings.telemetry, *spans.processors(settings))
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, stop.set)
        try:
            async with (
                bridge.platform(settings, names or (), patient=stop) as built,
                serve.served_beside(built),
                gauges.observing(built),
            ):
                await bridge.run(built, stop)
        finally:
            flush()

    do(work())


@app.command()
def console(
    listen: Annotated[str | None, typer.Option(help="Where. [default: `http.listen`, or 127.0.0.1:8080]")] = None,
    file: FileOption = None,
) -> None:
    """
    Serve the web console over the state: what is late and why, what is parked, any record's story. Needs no Kafka.

    `run` serves it, too, where `http.listen` is set. On an address that others reach people have to sign in.
    """
    log_to_stderr()

    async def work() -> None:
        settings = settings_of(file)
        where = HttpSettings(listen=listen or settings.http.listen or "127.0.0.1:8080", probes=settings.http.probes)
        shown = settings.console.model_copy(update={"serve": True})
        settings = settings.model_copy(update={"http": where, "console": shown})
        stop = asyncio.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, stop.set)
        async with bridge.looking(settings, tables=Upkeep.LEAVE) as built, serve.served(built) as url:
            out.print(f"The console is at [bold]{url}[/bold]; Ctrl-C stops it.")
            await stop.wait()

    do(work())


@app.command()
def status(
    file: FileOption = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="With --watch: seconds between two looks.")] = 2.0,
) -> None:
    """
    Show how every flow and stream stands: agreed, to do and how long the oldest has waited, waiting for another record, parked;
    read and published since ever; what is the matter; and which parts run nowhere though they should.

    Ends with 1 where a person is needed: something is in error, quarantined, held back, parked or absent.
    """
    expected = systems.expected(settings_of(file))

    async def look(store: Store) -> render.Status:
        return render.Status(await insight.streams(store), await insight.flows(store), await absent(store, expected))

    async def work(store: Store) -> int:
        stands = await look(store)
        if not watch:
            print(stands.as_json(indent=2)) if as_json else out.print(stands)
            return int(stands.needs_a_person)
        with Live(stands, console=out, auto_refresh=False, transient=False) if not as_json else nullcontext() as live:
            while True:
                live.update(stands, refresh=True) if live else print(stands.as_json(), flush=True)
                await asyncio.sleep(every)
                stands = await look(store)

    with suppress(KeyboardInterrupt):
        do(with_state(file, work))


@app.command()
def plan(
    flow: FlowArgument,
    file: FileOption = None,
    as_json: JsonOption = False,
    reveal: RevealOption = False,
    why: WhyOption = "",
    most: Annotated[int, typer.Option(help="Show the fields of so many subjects.")] = 20,
) -> None:
    """Show what a flow would write now, field by field. Writes nothing: run it before you go live."""

    async def work() -> int:
        settings = settings_of(file)
        known("plan", flow, "no flow", list(systems.flows(settings)))
        async with bridge.looking(settings, [flow]) as built:
            delivery = built.deliveries[flow]
            if reveal:
                await audit.reveal(built.store, audit.at_the_command_line(), [f"plan of {flow}"], why)
            changes = [change async for change in insight.plan(delivery.agreement, delivery.ledger)]
            taken_in = bool(changes) or await insight.has_subjects(delivery.ledger)
        render.plan(out, changes, as_json=as_json, reveal=reveal, most=most, known=taken_in)
        return 1 if any(c.action in ("refuse", "wait") for c in changes) else 0

    do(work())


@app.command()
def broker(
    apache: Annotated[
        bool, typer.Option("--apache", help="Real Apache Kafka from its jars (needs Java 17 or newer).")
    ] = False,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 9092,
    data: Annotated[Path, typer.Option(help="Where it keeps its data.")] = Path(".ironbridge/broker"),
) -> None:
    """Run a Kafka broker in the foreground: the embedded one (development only), or Apache Kafka."""
    from ironbridge.kafka.broker import ApacheKafka, EmbeddedBroker

    async def work() -> None:
        started = (ApacheKafka if apache else EmbeddedBroker)(
            data, port, progress=lambda step: err.print(f"[dim]{step}[/dim]")
        )
        if started.is_development:
            err.print(f"[yellow]{started.warning}[/yellow]")
        stop = asyncio.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, stop.set)
        async with started:
            out.print(f"{started.name} listens on [bold]{started.bootstrap}[/bold]; Ctrl-C stops it.")
            ended = asyncio.create_task(started.wait())
            told = asyncio.create_task(stop.wait())
            await asyncio.wait([ended, told], return_when=asyncio.FIRST_COMPLETED)
            for task in (ended, told):
                task.cancel()

    do(work())


@contracts_app.command("export")
def contracts_export(
    folder: Annotated[Path | None, typer.Argument(help="Where to write them; else each into its own package.")] = None,
) -> None:
    """Write the JSON Schema of every event and, into a folder, one AsyncAPI 3 document."""
    from ironbridge.operate import contracts  # loads FastStream, which no other command needs

    written = contracts.export(folder)
    out.print(f"Wrote the contracts to [bold]{' and '.join(sorted({str(file.parent) for file in written}))}[/bold].")


@contracts_app.command("check")
def contracts_check() -> None:
    """Hold the models against the released contracts: what would break a subscriber comes with what to do."""
    from ironbridge.operate import contracts

    broken = contracts.check()
    for sentence in broken:
        out.print(sentence)
    out.print("No released contract is broken." if not broken else f"{len(broken)} break a released contract.")
    raise typer.Exit(1 if broken else 0)

