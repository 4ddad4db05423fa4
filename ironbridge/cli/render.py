"""The command line shows things with these: tables for people, nothing that only colour tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from canonical.errors import IronbridgeError
from canonical.finding import Finding
from ironbridge.cli.parts import plain
from ironbridge.operate.absence import AbsentPart
from ironbridge.operate.held import HeldChange
from ironbridge.operate.insight import REOPENING, REREADING, STANDING_BY, Change, silence
from ironbridge.operate.reconcile.certificate import Certificate
from ironbridge.operate.stuck import Listing, grouped
from ironbridge.store.audit import AuditEntry
from ironbridge.store.standing import FlowStanding, StreamStanding, StuckRecord


def error(console: Console, what: IronbridgeError) -> None:
    line = Text.assemble(("error ", "bold red"), (what.where, "bold"), f": {what.what}")
    console.print(line)
    if what.fix:
        console.print(Text.assemble(("to do ", "bold"), what.fix))


def table(title: str, *columns: str, right: Iterable[str] = ()) -> Table:
    """Numbers and the first column, which names the row, stay whole; what is narrow folds the others."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        whole = column in right or column == columns[0]
        justify, overflow = "right" if column in right else "left", "ellipsis" if whole else "fold"
        made.add_column(column, justify=justify, overflow=overflow, no_wrap=whole)  # type: ignore[arg-type]
    return made


def findings(console: Console, found: Sequence[Finding]) -> None:
    made = table("", "", "what", "to do")
    for each in found:
        made.add_row("[green]well[/green]" if each.well else "[red]not well[/red]", Text(each.what), Text(each.fix))
    console.print(made)
    bad = sum(not each.well for each in found)
    console.print("All is well." if not bad else f"{bad} of {len(found)} need a person.")


@dataclass(frozen=True, slots=True)
class Status:
    """
    This view shows how all streams and flows stand, and which parts run nowhere though they should, to be printed once or again
    and again.
    """

    streams: Sequence[StreamStanding]
    flows: Sequence[FlowStanding]
    absent: Sequence[AbsentPart] = ()

    @property
    def needs_a_person(self) -> bool:
        """Is anything in error, put aside or absent? What is on its way, or was given up by a person, needs nobody."""
        streams = any(each.error or each.held or each.quarantined for each in self.streams)
        return bool(streams or self.absent or any(each.error or each.parked or each.rejected for each in self.flows))

    def as_json(self, indent: int | None = None) -> str:
        return json.dumps(self, indent=indent, default=plain)

    def __rich__(self) -> Group:
        """Lists first the parts that run nowhere, then the flows: there are few of them, and a screen of 24 lines shows these."""
        nowhere = [Text.assemble((f"{each.part} ", "bold"), each.why) for each in self.absent]
        return Group(*nowhere, *([Text()] if nowhere else []), flows(self.flows), streams(self.streams))


def streams(every: Sequence[StreamStanding]) -> Group:
    numbers = ("records", "published", "quarantined", "last read")
    made = table("Legacy systems", "stream", *numbers, right=numbers)
    said = []
    for each in every:
        remarks = [
            each.error or "",
            f"{each.held:,} deletions or changes held back: `ironbridge held`" if each.held else "",
            f"{each.incomplete:,} published without some fields: `ironbridge parked`" if each.incomplete else "",
            "paused" if each.paused else "",
        ]
        age = each.seconds_since_read
        counts = (f"{n:,}" for n in (each.records, each.events, each.quarantined))
        made.add_row(each.name, *counts, "being read" if age is None else f"{_span(age)} ago")
        said.append("; ".join(filter(None, remarks)))
    return _remarked(made, said)


def held(out: Console, changes: Sequence[HeldChange]) -> None:
    """Print the changes that the guard holds back, and the next step."""
    if not changes:
        out.print("Nothing is held back.")
        return
    made = table("Held back", "stream", "what", "records", "since", "file", right=("records",))
    for each in changes:
        since = f"{datetime.fromtimestamp(each.since, UTC):%Y-%m-%d %H:%M UTC}"
        made.add_row(each.part, each.what, f"{each.held:,} of {each.base:,}", since, each.file or "")
    out.print(made)
    out.print("Is the legacy system being rebuilt, or was a file cut short? Wait: the hold ends once they are all there again.")
    out.print("Are the changes right? Let them through: ironbridge held allow STREAM --what '…' --why '…'", markup=False)


def flows(every: Sequence[FlowStanding]) -> Group:
    numbers = ("holds", "agreed", "to do", "oldest", "waiting", "parked")
    made = table("Cloud systems", "flow", *numbers, right=numbers)
    said = []
    for each in every:
        remarks = [
            each.error or "",
            f"{each.dropped:,} given up" if each.dropped else "",
            f"{each.rejected} records are no events" if each.rejected else "",
            silence(each.flow, each.seconds_silent) if each.seconds_silent else "",
            REREADING if each.rereading else "",
            REOPENING if each.reopening else "",
            STANDING_BY if each.standby else "",
            "paused" if each.paused else "",
        ]
        oldest = "—" if each.seconds_waiting is None else _span(each.seconds_waiting)
        counts = [f"{n:,}" for n in (each.holds, each.agreed, each.todo)]
        made.add_row(each.flow, *counts, oldest, f"{each.waiting:,}", f"{each.parked:,}")
        said.append("; ".join(filter(None, remarks)))
    return _remarked(made, said)


def _remarked(made: Table, said: Sequence[str]) -> Group:
    """A table with no room wasted, and below it what is to be said of single rows, which no column has room for."""
    made.show_edge, made.collapse_padding = False, True
    names = list(made.columns[0].cells)
    lines = [Text.assemble((f"{name} ", "bold"), remark) for name, remark in zip(names, said, strict=True) if remark]
    return Group(made, *lines, Text())


def parked(console: Console, listing: Listing) -> None:
    """Grouped by reason as in the console, so that a hundred alike are one decision: what is wrong, what to do, its group."""
    if not listing.total:
        console.print("Nothing is parked, waiting or quarantined.")
        return
    console.print("[bold]Waiting for a person[/bold]")
    for each in listing.groups:
        console.print(Text.assemble((f"  {each.count:,} {each.state}", "bold"), f" in {each.part}, group {each.id}"))
        for told in (each.rule, f"To do: {each.next}", f"For example {each.example}"):
            console.print(indented(told, 6))
    if more := listing.total - len(listing.groups):
        console.print(f"… and {more:,} more groups (--limit shows more, --all shows all)")


def reasons(console: Console, rows: Sequence[StuckRecord]) -> None:
    for row in rows:
        (group,) = grouped([row])
        console.print(f"[bold]{row.part}[/bold] {row.state} since {moment(row.since)}, group {group.id}")
        for told in ((row.reason or "").partition(". To do: ")[0], f"To do: {group.next}"):
            console.print(indented(told, 2))
    if not rows:
        console.print("It is not parked, waiting or quarantined.")


_AGREES = "Nothing to write: the target agrees."
_KNOWS_NOTHING = "The flow has taken nothing in yet: let `ironbridge run` read the legacy systems. A paused flow writes nothing."


def plan(console: Console, changes: Sequence[Change], *, as_json: bool, reveal: bool, most: int, known: bool = True) -> None:
    seen = [change.shown(reveal=reveal) for change in (changes if as_json else changes[:most])]
    if as_json:
        console.print_json(json.dumps(seen, default=plain))
        return
    for change in seen:
        console.print(Text.assemble((f"{change.action:7}", "bold"), change.subject, f"  {change.reason}"))
        for field in change.fields[:30]:
            console.print(Text(f"        {field.path}: {field.before} → {field.after}"))
    if len(changes) > most:
        console.print(f"… and {len(changes) - most} more (--most shows more)")
    summary = ", ".join(f"{n:,} to {action}" for action, n in Counter(change.action for change in changes).items())
    console.print(f"[bold]{f'{summary}.' if summary else _AGREES if known else _KNOWS_NOTHING}[/bold] Nothing was written.")


def certificate(console: Console, found: Certificate, written: Sequence[Path], most: int) -> None:
    made = table(
        f"{found.flow}, verified through {found.verified:%d %b %Y %H:%M:%S} UTC",
        "side", "system", "records", "agree", "moved", "not compared",
        right=("records", "agree", "moved", "not compared"),
    )  # fmt: skip
    for part in found.parts:
        numbers = (part.looked, part.agreed, part.moved, part.untold)
        made.add_row(part.where.value, part.what, *(f"{n:,}" for n in numbers))
    console.print(made)
    for part in found.parts:
        console.print(Text.assemble((f"{part.what}: ", "bold"), "; ".join([part.how, *part.notes])))
    for each in found.differences[:most]:
        console.print(Text.assemble((f"{each.where.value} {each.kind.value} ", "bold"), f"{each.what} {each.key}"))
        told = "; ".join(filter(None, [", ".join(each.fields), each.why]))
        console.print(indented(told, 6))
    if len(found.differences) > most:
        console.print(f"… and {len(found.differences) - most:,} more (--most shows more, --out writes all)")
    console.print(f"[bold]{found.verdict}[/bold]")
    for file in written:
        console.print(f"Wrote {file}")


def trail(console: Console, entries: Sequence[AuditEntry]) -> None:
    """Two lines an act, so that a long key and a long name stay whole on a narrow screen."""
    console.print("[bold]What people did[/bold]" if entries else "Nobody has done anything yet.")
    for act in entries:
        console.print(Text.assemble(f"{moment(act.at)}  ", (act.action, "bold"), f" {act.what}"))
        console.print(indented(whose(act), 22))


def whose(act: AuditEntry) -> str:
    return f"{act.who}, {act.through}{': ' if act.why else ''}{act.why}"


def indented(told: str, by: int) -> Padding:
    return Padding(Text(told), (0, 0, 0, by), expand=False)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%d %b %Y %H:%M:%S")


def _span(seconds: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def spans(rows: Sequence[Any]) -> Table:
    """A waterfall of one trace: name, when it began, how long it took."""
    made = table("One change, traced from the row to the answer", "span", "began", "took", "", right=("began", "took"))
    start = min(span.start_time or 0 for span in rows)
    end = max(span.end_time or 0 for span in rows)
    width = 40
    for span in sorted(rows, key=lambda s: s.start_time or 0):
        begun, took = (span.start_time or 0) - start, (span.end_time or 0) - (span.start_time or 0)
        left = int(width * begun / max(end - start, 1))
        bar = " " * left + "█" * max(int(width * took / max(end - start, 1)), 1)
        made.add_row(span.name, f"{begun / 1e6:,.0f} ms", f"{took / 1e6:,.1f} ms", bar)
    return made
