"""
A record's story: where it is now, and as one line of time what was read, what each flow decided and tried, what people did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from ironbridge.console.access import Right
from ironbridge.console.asked import text_of
from ironbridge.console.page import ConsolePage, Form
from ironbridge.console.room import actor, room_of
from ironbridge.console.shown import NO_REASON, show
from ironbridge.operate import audit, insight
from ironbridge.operate.insight import Story, Version
from ironbridge.operate.stuck import grouped
from ironbridge.store.audit import AuditEntry
from ironbridge.store.story import SubjectStory, Tried


async def look(request: Request) -> Response:
    return await _story(request, request.query_params.get("key", ""), revealed=False)


async def reveal(request: Request, form: FormData) -> Response:
    """Show a record's personal fields, once, to somebody who has the right and says why."""
    store, key, why = room_of(request).store, text_of(form, "key"), text_of(form, "why")
    if not why:
        return await _story(request, key, revealed=False, status=422, error=NO_REASON)
    await audit.reveal(store, actor(request), [key], why)
    return await _story(request, key, revealed=True)


async def _story(request: Request, key: str, *, revealed: bool, status: int = 200, error: str = "") -> Response:
    """A record's story, newest first."""
    store = room_of(request).store
    told = await insight.story(store, key, reveal=revealed)
    line = happenings(told, await audit.about(store, key))
    needs = [each for each in grouped(told.stuck) if each.state in ("parked", "quarantined", "incomplete", "rejected")]
    known = bool(told.published or told.facts or told.subjects or told.stuck)
    return show(
        request, "record/page.html", status if known else 404, story=told, stuck=needs, line=line, known=known,
        revealed=revealed, error=error,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Happening:
    """
    One thing that happened. `kind` is `version`, `attempt` or `action`; `at` is seconds since 1970.

    `fields` are a version's, by their paths. `changed` names the fields that differ from the version before, None where there
    is none to compare with.
    """

    kind: str
    at: float
    title: str
    detail: str = ""
    trace: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    changed: Sequence[str] | None = None
    event: str = ""
    well: bool = True


def happenings(told: Story, actions: Sequence[AuditEntry]) -> list[Happening]:
    """Newest first; an attempt stands before the version that it was made for."""
    found = [
        *(_version(told.key, each) for each in told.versions),
        *(_attempt(told.key, subject, each) for subject in told.subjects for each in subject.tries),
        *(Happening("action", each.at, f"{each.who} {audit.did(each)}", each.why) for each in actions),
    ]
    order = {"version": 0, "attempt": 1, "action": 2}
    return sorted(found, key=lambda h: (h.at, order[h.kind]), reverse=True)


def _version(key: str, of: Version) -> Happening:
    title = (
        f"Version {of.version}: deleted" if of.fields is None else f"Version {of.version} of this {of.entity} was read"
    )
    return Happening(
        "version", of.at, title, trace=(of.traceparent or "")[3:35], fields=dict(flat(of.fields or {})), changed=of.changed,
        event=f"{key}@{of.version}",
    )  # fmt: skip


def _attempt(key: str, subject: SubjectStory, of: Tried) -> Happening:
    part = f", as part of {subject.subject}" if subject.subject != key else ""
    return Happening(
        "attempt", of.at, f"{subject.flow}: {of.outcome}{part}", of.detail or "", of.trace or "",
        well=of.outcome in ("confirmed", "unchanged", "removed"),
    )  # fmt: skip


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """A record's fields as lines: `names[0].given` and its value."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from flat(each, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from flat(each, f"{path}[{i}]")
    else:
        yield path, value


PAGE = ConsolePage({"/record": look}, [Form("/record/reveal", Right.REVEAL, reveal)])
