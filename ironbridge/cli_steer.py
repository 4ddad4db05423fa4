"""The commands that look into one record and those that steer: each of the latter leaves its mark in the audit trail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from canonical.errors import MisconfiguredError
from ironbridge import audit, bridge, insight, render, steer, stuck, systems
from ironbridge import reconcile as reconciliation
from ironbridge.audit import Actor, at_the_command_line
from ironbridge.cli_held import held_app
from ironbridge.cli_parts import (
    FileOption,
    JsonOption,
    RevealOption,
    WhyOption,
    do,
    err,
    known,
    out,
    print_json,
    print_rows,
    settings_of,
    with_state,
)
from ironbridge.insight import Row
from ironbridge.settings import Settings
from ironbridge.store import Store

parked_app = typer.Typer()

PartArgument = Annotated[str, typer.Argument(help="A flow (`dfe_csc`), or a stream (`liquidlogic.person`).")]
FlowArgument = Annotated[str, typer.Argument(help="The flow, as its section in the settings is called.")]
GroupOption = Annotated[str, typer.Option("--group", help="A group's id, as `parked list` shows it: all that is in it now.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Show so many groups, the largest of each kind first.")]
EveryOption = Annotated[bool, typer.Option("--all", help="Show every group.")]
_KEYS_HELP = "A record's key, the end of one (`1042`), or another number that `explain` takes."


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
        stories = [
            await insight.story(store, each, reveal=reveal) | {"audit": await audit.about(store, each)} for each in keys[:5]
        ]
        if as_json:
            print_json(stories)
            return 0
        for story in stories:
            render.story(out, story)
        if len(keys) > 5:
            out.print(f"… and {len(keys) - 5} more records: {', '.join(keys[5:])}")
        return 0

    do(with_state(file, work))


# -- streams and flows -------------------------------------------------------------------------------------------------


def _streams(settings: Settings) -> list[str]:
    return [f"{a}.{s.name}" for a, plan in systems.adapters(settings).items() for s in plan.adapter.streams()]


def _hold(
    name: str, file: FileOption, as_json: bool, why: str, work: Callable[[Store, Actor, str, str], Awaitable[None]]
) -> None:
    settings, pauses = settings_of(file), work is steer.pause
    there = [*settings.targets, *_streams(settings)]
    known("pause" if pauses else "resume", name, "no flow and no stream", there)

    async def held(store: Store) -> None:
        await work(store, at_the_command_line(), name, why)
        if as_json:
            print_json({"name": name, "paused": pauses})
        elif name in settings.targets:
            told = "is paused: it still takes events in, and writes nothing" if pauses else "goes on: what waited is written"
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


def release(flow: FlowArgument, file: FileOption = None, as_json: JsonOption = False, why: WhyOption = "") -> None:
    """Lift the silence that a flow's target has asked for (its Retry-After): what waits for it goes at once."""
    known("release", flow, "no flow", list(settings_of(file).targets))

    async def work(store: Store) -> int:
        lifted = await steer.release(store, at_the_command_line(), flow, why)
        if as_json:
            print_json({"flow": flow, "released": lifted})
        else:
            out.print(f"{flow} goes on: what waited is written." if lifted else f"The target of {flow} wants no silence.")
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
        known("replay", flow, "no flow", list(settings.targets))
        async with bridge.platform(settings, [flow], broker=False, topics=False) as built:
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
    streams = _streams(settings_of(file))
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


# -- what waits for a person -------------------------------------------------------------------------------------------


@parked_app.callback(invoke_without_command=True)
def parked(
    context: typer.Context,
    limit: LimitOption = stuck.SHOWN,
    everything: EveryOption = False,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """What does not get on by itself: list (when nothing else is said), show, retry, drop."""
    if context.invoked_subcommand is None:
        parked_list(limit, everything, file, as_json)
    elif file or as_json or everything or limit != stuck.SHOWN:
        raise MisconfiguredError(
            "parked", "its options stand before the command", fix=f"put them behind `parked {context.invoked_subcommand}`"
        )


@parked_app.command("list")
def parked_list(
    limit: LimitOption = stuck.SHOWN,
    everything: EveryOption = False,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """
    Everything that waits for a person, grouped by its reason, with what to do and the group's id. With --json every record,
    one a line.
    """

    async def work(store: Store) -> None:
        if as_json:
            await print_rows(_with_groups(rows) async for rows in stuck.everything(store))
        else:
            render.parked(out, await stuck.groups(store, None if everything else limit))

    do(with_state(file, work))


@parked_app.command("show")
def parked_show(
    key: Annotated[str, typer.Argument(help=_KEYS_HELP)], file: FileOption = None, as_json: JsonOption = False
) -> None:
    """Why one record is parked, and what to do about it."""

    async def work(store: Store) -> int:
        keys = await _meant(store, "parked show", [key])
        rows = await insight.parked(store, keys[0]) if keys else []
        if as_json:
            print_json(_with_groups(rows))
        elif rows:
            render.reasons(out, rows)
        return 0 if rows else 1

    do(with_state(file, work))


@parked_app.command("retry")
def parked_retry(
    keys: Annotated[list[str] | None, typer.Argument(help=_KEYS_HELP)] = None,
    group: GroupOption = "",
    everything: Annotated[bool, typer.Option("--all", help="All that is parked.")] = False,
    file: FileOption = None,
    as_json: JsonOption = False,
    why: WhyOption = "",
) -> None:
    """Look at parked records again, one by one or a group: the target may have been mended, or the mapping."""
    _one_way("parked retry", keys, group, everything=everything)

    async def work(store: Store) -> int:
        count, wanted = 0, 0
        async for piece in _wanted(store, "parked retry", keys or (), group, everything=everything):
            count, wanted = count + await steer.retry(store, at_the_command_line(), piece, why), wanted + len(piece)
        if as_json:
            print_json({"retried": count})
        elif wanted:
            out.print(f"{count} will be looked at again.")
        return 0 if count and wanted >= len(keys or ()) else 1

    do(with_state(file, work))


@parked_app.command("drop")
def parked_drop(
    why: Annotated[str, typer.Option(help="The reason, which goes on record.")],
    keys: Annotated[list[str] | None, typer.Argument(help=_KEYS_HELP)] = None,
    group: GroupOption = "",
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give parked records up, one by one or a group, with a reason. The next change of their facts brings them back."""
    _one_way("parked drop", keys, group)

    async def work(store: Store) -> int:
        count, wanted = 0, 0
        async for piece in _wanted(store, "parked drop", keys or (), group):
            count, wanted = count + await steer.drop(store, at_the_command_line(), piece, why), wanted + len(piece)
        if as_json:
            print_json({"dropped": count})
        elif wanted:
            out.print(f"{count} given up.")
        return 0 if count and wanted >= len(keys or ()) else 1

    do(with_state(file, work))


def _with_groups(rows: Sequence[Row]) -> list[Row]:
    told = {id(row): {"group": each.id, "next": each.next} for each in stuck.grouped(rows) for row in each.rows}
    return [row | told[id(row)] for row in rows]


def _one_way(command: str, keys: Sequence[str] | None, group: str, *, everything: bool = False) -> None:
    """:raises MisconfiguredError: records are named in no way, or in more than one."""
    if sum(map(bool, (keys, group, everything))) != 1:
        ways = "keys, or --group, or --all" if command == "parked retry" else "keys, or --group"
        raise MisconfiguredError(command, f"it takes one of: {ways}", fix="`ironbridge parked list` shows what there is")


async def _wanted(
    store: Store, command: str, words: Sequence[str], group: str, *, everything: bool = False
) -> AsyncIterator[list[str]]:
    """The keys of what is parked, in pieces: all, those of a group as it is now, or those that the words mean."""
    if everything:
        done: set[str] = set()
        async for rows in stuck.everything(store):
            keys = {str(row["key"]): None for row in rows if row["key"] not in done}
            done |= keys.keys()
            yield list(keys)
    elif not group:
        yield await _meant(store, command, words)
    elif found := await stuck.group(store, group):
        async for piece in stuck.members(store, found):
            yield piece
    else:
        told = f"There is no group {group}: its records got on, or were given up. See `ironbridge parked list`."
        err.print(told, markup=False)


async def _meant(store: Store, command: str, words: Sequence[str]) -> list[str]:
    """
    The keys of the parked records that the words mean, each as `explain` takes it. Of one that means none it is said, without
    the word: it may be somebody's number.

    :raises MisconfiguredError: one means more than one.
    """
    keys = []
    for number, word in enumerate(words, 1):
        which = f" (word {number} of {len(words)})" if len(words) > 1 else ""
        own = [word] if await insight.parked(store, word) else await insight.find(store, word)
        found = [key for key in own if await insight.parked(store, key)]
        if len(found) > 1:
            several = f"that may mean {len(found)} records{which}"
            raise MisconfiguredError(command, several, fix=f"name one: {', '.join(found)}")
        if not found:
            err.print(f"No such record is parked{which}. See `ironbridge parked list`.", markup=False)
        keys += found
    return list(dict.fromkeys(keys))


def trail(
    most: Annotated[int, typer.Option(min=1, help="Show so many actions, the newest first.")] = 50,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who did what, when and why: retries, drops, pauses, replays, backfills, and who had personal fields shown."""

    async def work(store: Store) -> None:
        rows = await audit.trail(store, most=most)
        print_json(rows) if as_json else render.trail(out, rows)

    do(with_state(file, work))
