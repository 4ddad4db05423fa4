"""A record's story as one line of time: what was read, what each flow decided and tried, what people did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ironbridge.operate import audit
from ironbridge.operate.insight import Story, Version
from ironbridge.store.audit import AuditEntry
from ironbridge.store.story import SubjectStory, Tried


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
