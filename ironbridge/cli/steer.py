"""The commands that look into one record and those that steer: each of the latter leaves its mark in the audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from ironbridge.cli import render
from ironbridge.cli.held import held_app
from ironbridge.cli.parked import parked_app
from ironbridge.cli.parts import (
    FileOption,
    JsonOption,
    RevealOption,
    WhyOption,
    do,
    err,
    known,
    out,
    plain,
    print_json,
    settings_of,
    with_state,
)
from ironbridge.cli.story import print_story
from ironbridge.operate import audit, insight, steer
from ironbridge.operate import reconcile as reconciliation
from ironbridge.operate.audit import Actor, at_the_command_line
from ironbridge.runtime import bridge, systems
from ironbridge.store import Store

PartArgument = Annotated[str, typer.Argument(help="A flow (`dfe_csc`), or a stream (`liquidlogic.person`).")]
FlowArgument = Annotated[str, typer.Argument(help="The flow, as its section in the settings is called.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(parked_app, name="parked")
    app.add_typer(held_app, name="held")
    for command in (explain, pause, resume, release, replay, backfill, reconcile):
        app.command()(command)
    app.command("audit")(trail)


def explain(
    words: Annotated[
        str | None,
        typer.Argument(
            help="A record's key or the end of one (`1042`), an NHS number, a UPN, a supplier's or an invoice's number, or "
            "the target's id of it. Left out, it is asked for, so that no number stays in the shell's history."
        ),
    ] = None,
    file: FileOption = None,
    as_json: JsonOption = False,
    reveal: RevealOption = False,
    why: WhyOption = "",
) -> None:
    """
    One record's story: every version as read and what changed in it, the event, what each flow made of it, every attempt
    and its answer, and what people did to it.
    """
    wanted = words or typer.prompt("Which record", err=True)

    async def work(store: Store) -> int:
        keys = await insight.find(store, wanted)
        if not keys:
            err.print(
                "Nothing is known of it: no adapter has read it. Is its stream read? `ironbridge status` says so."
            )
            return 1
        if reveal:
            await audit.reveal(store, at_the_command_line(), keys[:5], why)
        stories = [(await insight.story(store, each, reveal=reveal), await audit.about(store, each)) for each in keys[:5]]
        if as_json:
            print_json([plain(story) | {"audit": actions} for story, actions in stories])
            return 0
        for story, actions in stories:
            print_story(out, story, actions)
        if len(keys) > 5:
            out.print(f"… and {len(keys) - 5} more records: {', '.join(keys[5:])}")
        return 0

    do(with_state(file, work))


# -- streams and flows -------------------------------------------------------------------------------------------------


def _hold(
    name: str, file: FileOption, as_json: bool, why: str, work: Callable[[Store, Actor, str, str], Awaitable[None]]
) -> None:
    settings, pauses = settings_of(file), work is steer.pause
    flows = systems.flows(settings)
    there = [*flows, *systems.stream_names(settings)]
    known("pause" if pauses else "resume", name, "no flow and no stream", there)

    async def held(store: Store) -> None:
        await work(store, at_the_command_line(), name, why)
        if as_json:
            print_json({"name": name, "paused": pauses})
        elif name in flows:
            told = "is paused: it still takes events in, and writes nothing" if pauses else "goes on: all that waited is written"
            out.print(f"{name} {told}.")
        else:
            out.print(f"{name} {'is paused: it is not read' if pauses else 'goes on: it is read again'}.")

    do(with_state(file, held))


def pause(name: PartArgument, file: FileOption = None, as_json: JsonOption = False, why: WhyOption = "") -> None:
    """Hold a flow's writing or a stream's reading back, from its next step on. A paused flow still takes events in."""
    _hold(name, file, as_json, why, steer.pause)


def resume(name: PartArgument, file: FileOption = None, as_json: JsonOption = False, why: WhyOption = "") -> None:
    """Let a paused flow or stream go on; what waited goes at once."""
    _hold(name, file, as_json, why, steer.resume)


def release(
    name: Annotated[str, typer.Argument(help="A target, or a flow that writes to it, as its section in the settings is called.")],
    file: FileOption = None,
    as_json: JsonOption = False,
    why: WhyOption = "",
) -> None:
    """
    Lift the silence that a target has asked for (its Retry-After): the subjects that wait for it go at once, those of all flows
    that write to it.
    """
    settings = settings_of(file)
    flows = systems.flows(settings)
    known("release", name, "no flow and no target", list(dict.fromkeys([*flows, *settings.targets])))
    target = flows[name].target.name if name in flows else name

    async def work(store: Store) -> int:
        lifted = await steer.release(store, at_the_command_line(), target, why)
        if as_json:
            print_json({"target": target, "released": lifted})
        else:
            out.print(f"{target} goes on: all that waited is written." if lifted else f"{target} asked for no silence.")
        return 0 if lifted else 1

    do(with_state(file, work))


def replay(
    flow: FlowArgument,
    since: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
            help="Only what was observed to change since then, in this machine's time. [default: all]",
        ),
    ] = None,
    rewrite: Annotated[
        bool,
        typer.Option(
            help="Take nothing for confirmed: read the target back, or write it again whole where it shows nothing."
        ),
    ] = False,
    file: FileOption = None,
    as_json: JsonOption = False,
    why: WhyOption = "",
) -> None:
    """
    Make a flow look at its subjects again: what they should be is worked out anew, and written where it is another than
    what the target was confirmed to hold. The running flow does it, with its next step.
    """

    async def work() -> int:
        settings = settings_of(file)
        known("replay", flow, "no flow", list(systems.flows(settings)))
        async with bridge.looking(settings, [flow]) as built:
            moment, wanted = None if since is None else since.timestamp(), built.deliveries[flow].flow
            count = await steer.replay(built.store, at_the_command_line(), wanted, why, since=moment, rewrite=rewrite)
        print_json({"flow": flow, "subjects": count}) if as_json else out.print(f"{count:,} will be looked at again.")
        return 0

    do(work())


def backfill(
    adapter: Annotated[str, typer.Argument(help="The adapter, as its section in the settings is called.")],
    stream: Annotated[str, typer.Argument(help="The stream, e.g. `person`.")],
    wait: Annotated[bool, typer.Option(help="Stay and show how it gets on, until it is done.")] = False,
    file: FileOption = None,
    as_json: JsonOption = False,
    why: WhyOption = "",
) -> None:
    """
    Read a stream whole again, compare every row by itself, and publish again what its topics lack; no event twice.
    The running adapter takes it up with its next reading.
    """
    streams = systems.stream_names(settings_of(file))
    own = [each for each in streams if each.startswith(f"{adapter}.")]
    known("backfill", f"{adapter}.{stream}", "no stream", own or streams)

    async def work(store: Store) -> int:
        asked = await steer.backfill(store, at_the_command_line(), adapter, stream, why)
        stands = await _watch(store, adapter, stream, asked, as_json) if wait else None
        if as_json:
            print_json({"adapter": adapter, "stream": stream, "asked": asked} | (asdict(stands) if stands else {}))
        elif stands is None:
            out.print(f"{adapter}.{stream} will be read whole again, as soon as its adapter runs: `ironbridge status`.")
        else:
            out.print(f"Read {stands.read:,} rows, published {stands.published:,} events.")
        return 0

    do(with_state(file, work))


async def _watch(store: Store, adapter: str, stream: str, asked: float, quiet: bool) -> steer.Backfilling:
    with Progress(console=err, disable=quiet, transient=True) as progress:
        task = progress.add_task(f"{adapter}.{stream}: waits for its adapter", total=None)
        while not (stands := await steer.backfilling(store, adapter, stream, asked)).done:
            if stands.taken_up:
                about = stands.error or f"{stands.published:,} events"
                progress.update(
                    task, total=stands.records, completed=stands.read, description=f"{adapter}.{stream}: {about}"
                )
            await asyncio.sleep(0.5)
    return stands


def reconcile(
    flow: FlowArgument,
    folder: Annotated[
        Path | None, typer.Option("--out", help="A folder to put the certificate into, as HTML, CSV and JSON.")
    ] = None,
    patience: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="At most so many seconds for what is on its way. [default: until each running adapter has read once more]",
            show_default=False,
        ),
    ] = None,
    file: FileOption = None,
    as_json: JsonOption = False,
    most: Annotated[int, typer.Option(help="Show so many differences.")] = 20,
) -> None:
    """
    Compare legacy, canonical and cloud: every record that is missing, stale, extra or different, with the fields, and a
    certificate for an auditor. Reads only; the bridge may run meanwhile.
    """

    async def work() -> int:
        with err.status("opening") as status:
            by, settings = at_the_command_line(), settings_of(file)
            found = await reconciliation.reconcile(settings, flow, by, patience=patience, say=status.update)
        written = found.write_to(folder) if folder is not None else []
        if as_json:
            print_json(found.as_dict())
        else:
            render.certificate(out, found, written, most)
        return 0 if found.agreed else 1

    do(work())


# -- what people did ----------------------------------------------------------------------------------------------------


def trail(
    most: Annotated[int, typer.Option(min=1, help="Show so many actions, the newest first.")] = 50,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show who did what, when and why: retries, drops, pauses, replays, backfills, and who had personal fields shown."""

    async def work(store: Store) -> None:
        rows = await audit.trail(store, most=most)
        print_json(rows) if as_json else render.trail(out, rows)

    do(with_state(file, work))
