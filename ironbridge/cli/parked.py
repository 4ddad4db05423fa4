"""The commands for records that are stuck: list, show, retry, drop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from canonical.errors import MisconfiguredError
from ironbridge.cli import render
from ironbridge.cli.parts import FileOption, JsonOption, WhyOption, do, err, out, print_json, print_rows, with_state
from ironbridge.operate import insight, steer, stuck
from ironbridge.operate.audit import at_the_command_line
from ironbridge.store import Store
from ironbridge.store.standing import StuckRecord

parked_app = typer.Typer()

GroupOption = Annotated[str, typer.Option("--group", help="A group's id, as `parked list` shows it: all its records.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Show this many groups, the largest of each kind first.")]
EveryOption = Annotated[bool, typer.Option("--all", help="Show every group.")]
_KEYS_HELP = "A record's key, the end of one (`1042`), or another number that `explain` takes."


@parked_app.callback(invoke_without_command=True)
def parked(
    context: typer.Context,
    limit: LimitOption = stuck.SHOWN,
    everything: EveryOption = False,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Records that are stuck until a person acts: list (the default), show, retry, drop."""
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
    List every record that waits for a person, grouped by its reason, with the next step and the group's id. With --json:
    every record, one a line.
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
    """Show why one record is parked, and the next step."""

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
    everything: Annotated[bool, typer.Option("--all", help="All parked records.")] = False,
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


def _with_groups(rows: Sequence[StuckRecord]) -> list[dict[str, Any]]:
    """The rows for a machine, each with its group's id and next step."""
    told = {row: {"group": each.id, "next": each.next} for each in stuck.grouped(rows) for row in each.rows}
    return [asdict(row) | told[row] for row in rows]


def _one_way(command: str, keys: Sequence[str] | None, group: str, *, everything: bool = False) -> None:
    """:raises MisconfiguredError: the records are named in no way, or in more than one."""
    if sum(map(bool, (keys, group, everything))) != 1:
        ways = "keys, or --group, or --all" if command == "parked retry" else "keys, or --group"
        raise MisconfiguredError(command, f"it takes one of: {ways}", fix="`ironbridge parked list` shows what there is")


async def _wanted(
    store: Store, command: str, words: Sequence[str], group: str, *, everything: bool = False
) -> AsyncIterator[list[str]]:
    """The keys of parked records, in pieces: all, the ones of a group as it is now, or the ones that the words mean."""
    if everything:
        done: set[str] = set()
        async for rows in stuck.everything(store):
            keys = {row.key: None for row in rows if row.key not in done}
            done |= keys.keys()
            yield list(keys)
    elif not group:
        yield await _meant(store, command, words)
    elif found := await stuck.group(store, group):
        async for piece in stuck.members(store, found):
            yield piece
    else:
        told = f"There is no group {group}: its records were written, or were given up. See `ironbridge parked list`."
        err.print(told, markup=False)


async def _meant(store: Store, command: str, words: Sequence[str]) -> list[str]:
    """
    The keys of the parked records that the words mean, each as `explain` takes it. If a word means none, an error is printed
    without the word, because the word may be somebody's number.

    :raises MisconfiguredError: a word means more than one record.
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
