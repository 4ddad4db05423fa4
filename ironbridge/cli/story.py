"""Prints a record's story: how it was read, its versions, what each flow made of it, and what people did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from ironbridge.cli.render import indented, moment, whose
from ironbridge.operate.insight import Story, Version
from ironbridge.store.audit import AuditEntry
from ironbridge.store.story import PublishedRecord, SubjectStory


def print_story(console: Console, told: Story, actions: Sequence[AuditEntry] = ()) -> None:
    """Print a record's story, and what people did to it."""
    console.rule(f"[bold]{told.key}", align="left")
    for row in told.published:
        console.print(Text.assemble(("legacy  ", "bold"), f"{row.adapter}.{row.stream}: {_read(row, told.key)}"))
    for version in told.versions:
        _version(console, version)
    for fact in told.facts:
        console.print("[bold]now[/bold]" if fact.fields is not None else "[bold]now[/bold]     it is deleted")
        for line in lines(fact.fields or {}):
            console.print(indented(line, 10))
    for subject in told.subjects:
        _subject(console, subject)
    if told.owns:
        counts = Counter(owned.entity for owned in told.owns)
        owned = ", ".join(f"{n} {entity}" for entity, n in counts.items())
        console.print(f"[bold]owns[/bold]    {owned}, for example {told.owns[0].key}")
    for record in told.stuck:
        if record.state in ("quarantined", "incomplete", "rejected"):
            console.print(Text.assemble(("stuck   ", "bold red"), f"{record.state}: {record.reason}"))
    for act in actions:
        console.print(Text.assemble(("audit   ", "bold"), f"{moment(act.at)} {act.action} by {whose(act)}"))


def _version(console: Console, version: Version) -> None:
    trace = f"trace {version.traceparent[3:35]}" if version.traceparent else "not traced"
    seen = f"version {version.version}, observed {moment(version.at)}, {trace}"
    console.print(f"[bold]event[/bold]   {seen}{'; deleted' if version.fields is None else ''}")
    if version.changed is not None:
        console.print(Text(f"          changed: {', '.join(version.changed) or 'nothing that is published'}"))


def _subject(console: Console, subject: SubjectStory) -> None:
    document = subject.document
    holds = f"holds {document.kind} {document.number}" if document else "holds nothing"
    ref, reason = f" as {subject.ref}" if subject.ref else "", f"; {subject.reason}" if subject.reason else ""
    console.print(
        Text.assemble(("flow    ", "bold"), f"{subject.flow}: {subject.state}; the target {holds}{ref}{reason}")
    )
    for attempt in subject.tries:
        detail = f": {attempt.detail}" if attempt.detail else ""
        trace = f"  trace {attempt.trace}" if attempt.trace else ""
        console.print(Text(f"          {moment(attempt.at)} {attempt.outcome}{detail}{trace}"))


def _read(row: PublishedRecord, key: str) -> str:
    """Return what a legacy row became: where it was published, and to whom it belongs where that is another."""
    what = f"{'an' if row.entity[0] in 'aeiou' else 'a'} {row.entity}"
    if not row.version:
        return f"read as {what}; it has never been published"
    where = f", published to {row.topic}[{row.partition}] at {row.offset}" if row.topic else ""
    owner = f"; it belongs to {row.owner}" if row.owner and row.owner != key else ""
    return f"{what}, version {row.version}{', deleted' if row.deleted else ''}{where}{owner}"


def lines(fields: Mapping[str, Any]) -> list[str]:
    """An entity's fields for a person's eyes: a line each, and one for each item of a list of blocks."""
    told = []
    for name, value in fields.items():
        blocks = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        told += [f"{name}: {_block(each) if isinstance(each, dict) else _value(each)}" for each in blocks]
    return told


def _block(value: Mapping[str, Any]) -> str:
    return "; ".join(f"{name} {_value(each)}" for name, each in value.items()) or "none"


def _value(value: Any) -> str:
    match value:
        case dict():
            return f"({_block(value)})"
        case list():
            return ", ".join(map(_value, value)) or "none"
        case bool():
            return "yes" if value else "no"
        case None:
            return "—"
        case _:
            return str(value)
