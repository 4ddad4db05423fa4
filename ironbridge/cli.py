"""
The command line. Exit status: 0 well, 1 something needs a person (a difference, a failed check), 2 a wrong command or
setting, 3 something is unavailable.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from canonical.errors import IronbridgeError, MisconfiguredError, UnavailableError
from ironbridge import bridge, insight, render, serve, systems, telemetry
from ironbridge.checks import findings
from ironbridge.sample import sample
from ironbridge.settings import FILE, Settings, load
from ironbridge.store import Store, open_store

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
parked_app = typer.Typer(no_args_is_help=True, help="What does not get on by itself: list, show, retry, drop.")
app.add_typer(parked_app, name="parked")
contracts_app = typer.Typer(no_args_is_help=True, help="The canonical events' schemas: export them, check them.")
app.add_typer(contracts_app, name="contracts")

out = Console()
err = Console(stderr=True)

FileOption = Annotated[
    Path | None, typer.Option("--file", "-f", help=f"The settings file. [default: {FILE}]", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a machine.")]
RevealOption = Annotated[bool, typer.Option("--reveal", help="Show personal fields in clear. Mind who looks on.")]


def main() -> NoReturn:
    """The entry point: our own errors as one sentence on stderr and an exit status, never as a traceback."""
    try:
        app(standalone_mode=True)
    except MisconfiguredError as error:
        render.error(err, error)
        sys.exit(2)
    except UnavailableError as error:
        render.error(err, error)
        sys.exit(3)
    except IronbridgeError as error:
        render.error(err, error)
        sys.exit(1)
    sys.exit(0)


def _settings(file: Path | None) -> Settings:
    if file is None and not Path(FILE).exists():
        raise MisconfiguredError(FILE, "is not here", fix="write one with `ironbridge init`, or name one with --file")
    return load(file)


def _do(work: Coroutine[Any, Any, int | None]) -> None:
    raise typer.Exit(asyncio.run(work) or 0)


async def _with_state(file: Path | None, work: Any) -> int | None:
    store = await open_store(_settings(file).state_url)
    try:
        status: int | None = await work(store)
        return status
    finally:
        await store.close()


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
def check(file: FileOption = None, as_json: JsonOption = False) -> None:
    """Look at settings, connections and permissions, changing nothing; each thing that is not well comes with its fix."""

    async def work() -> int:
        found = [finding async for finding in findings(_settings(file))]
        if as_json:
            out.print_json(json.dumps([{"what": f.what, "well": f.well, "fix": f.fix} for f in found]))
        else:
            render.findings(out, found)
        return 0 if all(f.well for f in found) else 1

    _do(work())


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
    telemetry.log_to_stderr(logging.DEBUG if verbose else logging.INFO)

    async def work() -> None:
        settings = _settings(file)
        flush = telemetry.start(settings.telemetry)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for sign in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(sign, stop.set)
        try:
            async with (
                bridge.platform(settings, names or ()) as built,
                serve.serving(serve.application(built), settings.http),
            ):
                await bridge.run(built, stop)
        finally:
            flush()

    _do(work())


@app.command()
def status(file: FileOption = None, as_json: JsonOption = False) -> None:
    """How every stream and flow stands: read, published, agreed, parked, late, and what is the matter."""

    async def work(store: Store) -> None:
        streams, flows = await insight.streams(store), await insight.flows(store)
        if as_json:
            out.print_json(json.dumps({"streams": streams, "flows": flows}))
        else:
            render.streams(out, streams)
            render.flows(out, flows)

    _do(_with_state(file, work))


@app.command()
def plan(
    flow: Annotated[str, typer.Argument(help="The flow, as its section in the settings is called.")],
    file: FileOption = None,
    as_json: JsonOption = False,
    reveal: RevealOption = False,
    most: Annotated[int, typer.Option(help="Show the fields of so many subjects.")] = 20,
) -> None:
    """What a flow would write now, field by field. Writes nothing: run it before you go live."""

    async def work() -> int:
        settings = _settings(file)
        async with bridge.platform(settings, [flow], broker=False, topics=False) as built:
            delivery = built.deliveries.get(flow)
            if delivery is None:
                raise MisconfiguredError("plan", f"{flow} is no flow", fix="name a section of [targets]")
            changes = [change async for change in insight.plan(delivery.agreement, delivery.ledger)]
        render.plan(out, changes, as_json=as_json, reveal=reveal, most=most)
        return 1 if any(c.action in ("refuse", "wait") for c in changes) else 0

    _do(work())


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="A record's key, the end of one (`1042`), or the target's id of it.")],
    file: FileOption = None,
    as_json: JsonOption = False,
    reveal: RevealOption = False,
) -> None:
    """One record's story: what was read and published, what each flow made of it, every attempt and its answer."""

    async def work(store: Store) -> int:
        keys = await insight.find(store, key)
        if not keys:
            err.print(
                f"Nothing is known of [bold]{key}[/bold]: no adapter has read it. Is its stream read? `ironbridge status`"
            )
            return 1
        stories = [await insight.story(store, each, reveal=reveal) for each in keys[:5]]
        if as_json:
            out.print_json(json.dumps(stories, default=str))
        else:
            for story in stories:
                render.story(out, story)
            if len(keys) > 5:
                out.print(f"… and {len(keys) - 5} more records: {', '.join(keys[5:])}")
        return 0

    _do(_with_state(file, work))


def _known(settings: Settings, name: str) -> None:
    """:raises MisconfiguredError: the name is no flow and no stream of the settings."""
    streams = [f"{a}.{s.name}" for a, plan in systems.adapters(settings).items() for s in plan.adapter.streams()]
    if name not in [*settings.targets, *streams]:
        raise MisconfiguredError(
            "pause", f"{name} is no flow and no stream", fix=f"there are: {', '.join([*settings.targets, *streams])}"
        )


PartArgument = Annotated[str, typer.Argument(help="A flow (`dfe_csc`), or a stream (`liquidlogic.person`).")]


@app.command()
def pause(name: PartArgument, file: FileOption = None) -> None:
    """Hold a flow's writing or a stream's reading back, from its next step on. A paused flow still takes events in."""
    _known(_settings(file), name)
    _do(_with_state(file, lambda store: insight.pause(store, name, paused=True)))


@app.command()
def resume(name: PartArgument, file: FileOption = None) -> None:
    """Let a paused flow or stream go on; what waited goes at once."""
    _known(_settings(file), name)
    _do(_with_state(file, lambda store: insight.pause(store, name, paused=False)))


@parked_app.command("list")
def parked_list(file: FileOption = None, as_json: JsonOption = False) -> None:
    """Everything that waits for a person, grouped by its reason."""

    async def work(store: Store) -> None:
        rows = await insight.parked(store)
        out.print_json(json.dumps(rows)) if as_json else render.parked(out, rows)

    _do(_with_state(file, work))


@parked_app.command("show")
def parked_show(key: str, file: FileOption = None, as_json: JsonOption = False) -> None:
    """Why one record is parked."""

    async def work(store: Store) -> int:
        rows = await insight.parked(store, key)
        out.print_json(json.dumps(rows)) if as_json else render.reasons(out, rows)
        return 0 if rows else 1

    _do(_with_state(file, work))


@parked_app.command("retry")
def parked_retry(
    keys: Annotated[list[str] | None, typer.Argument(help="Records to look at again.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is parked.")] = False,
    file: FileOption = None,
) -> None:
    """Look at parked records again: the target may have been mended, or the mapping."""

    async def work(store: Store) -> int:
        wanted = [row["key"] for row in await insight.parked(store)] if everything else list(keys or ())
        count = await insight.retry(store, wanted)
        out.print(f"{count} will be looked at again.")
        return 0 if count else 1

    _do(_with_state(file, work))


@parked_app.command("drop")
def parked_drop(
    keys: Annotated[list[str], typer.Argument(help="Records to give up.")],
    why: Annotated[str, typer.Option(help="The reason, which goes on record.")],
    file: FileOption = None,
) -> None:
    """Give parked records up, with a reason. The next change of their facts brings them back."""

    async def work(store: Store) -> int:
        count = await insight.drop(store, keys, why)
        out.print(f"{count} given up.")
        return 0 if count else 1

    _do(_with_state(file, work))


@app.command()
def broker(
    apache: Annotated[
        bool, typer.Option("--apache", help="Real Apache Kafka from its jars (needs Java 17 or newer).")
    ] = False,
    port: Annotated[int, typer.Option(help="The port on 127.0.0.1.")] = 9092,
    data: Annotated[Path, typer.Option(help="Where it keeps its data.")] = Path(".ironbridge/broker"),
) -> None:
    """Run a Kafka broker in the foreground: the embedded one (development only), or Apache Kafka."""
    from ironbridge.broker import ApacheKafka, EmbeddedBroker

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

    _do(work())


@app.command()
def demo(
    data: Annotated[Path, typer.Option(help="Where the demonstration keeps its world.")] = Path(".ironbridge/demo"),
    children: Annotated[int, typer.Option(min=1, help="Children in the legacy database.")] = 400,
    invoices: Annotated[int, typer.Option(min=1, help="Invoices in the ledger's extracts.")] = 600,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 2026,
    traces: Annotated[bool, typer.Option(help="Print the trace of one change at the end.")] = True,
) -> None:
    """
    Carry a small council's records from two legacy systems to two cloud systems, change some, and show what happens.

    All of it runs here: a Liquidlogic-shaped database, a drop folder, a broker, and sandboxes of the cloud systems. Kill it
    at any moment and start it again: it goes on where it was.
    """
    from ironbridge import demo as demonstration  # its sandboxes are not needed to run a bridge

    _do(demonstration.play(out, data, children=children, invoices=invoices, seed=seed, traces=traces))


@contracts_app.command("export")
def contracts_export(folder: Annotated[Path, typer.Argument(help="Where to write them.")]) -> None:
    """Write the JSON Schema of every event and one AsyncAPI 3 document."""
    from ironbridge import contracts  # loads FastStream, which no other command needs

    contracts.export(folder)
    out.print(f"Wrote the contracts to [bold]{folder}[/bold].")


@contracts_app.command("check")
def contracts_check() -> None:
    """Hold the models against the released contracts: what would break a subscriber comes with what to do."""
    from ironbridge import contracts

    broken = contracts.check()
    for sentence in broken:
        out.print(sentence)
    out.print("No released contract is broken." if not broken else f"{len(broken)} break a released contract.")
    raise typer.Exit(1 if broken else 0)


if __name__ == "__main__":
    main()
