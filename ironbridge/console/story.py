"""A record's story as one line of time: what was read, what each flow decided and tried, what people did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ironbridge.operate import audit
from ironbridge.operate.insight import Row


@dataclass(frozen=True, slots=True)
class Happening:
    """
    One thing that happened. `kind` is `version`, `attempt` or `action`; `at` is seconds since 1970.

    `changed` names the fields that differ from the version before, None where there is none to compare with.
    """

    kind: str
    at: float
    title: str
    detail: str = ""
    trace: str = ""
    fields: list[tuple[str, Any]] = field(default_factory=list)
    changed: list[str] | None = None
    event: str = ""
    well: bool = True


def happenings(told: Row, actions: list[Row]) -> list[Happening]:
    """Newest first; an attempt stands before the version that it was made for."""
    found = [*_versions(told), *_attempts(told), *_actions(actions)]
    order = {"version": 0, "attempt": 1, "action": 2}
    return sorted(found, key=lambda h: (h.at, order[h.kind]), reverse=True)


def _versions(told: Row) -> list[Happening]:
    found: list[Happening] = []
    before: dict[str, Any] | None = None
    for version in sorted(told.get("versions") or told["facts"], key=lambda v: int(v["version"])):
        fields = None if version["fields"] is None else dict(flat(version["fields"]))
        changed = version.get("changed")
        if changed is None and before is not None and fields is not None:
            changed = [path for path in dict.fromkeys([*before, *fields]) if before.get(path) != fields.get(path)]
        number = version["version"]
        title = (
            f"Version {number}: deleted" if fields is None else f"Version {number} of this {version['entity']} was read"
        )
        trace = (version.get("traceparent") or "")[3:35]
        event = f"{told['key']}@{number}"
        found.append(
            Happening("version", float(version["at"]), title, "", trace, list((fields or {}).items()), changed, event)
        )
        before = fields
    return found


def _attempts(told: Row) -> list[Happening]:
    return [
        Happening(
            "attempt", float(attempt["at"]), f"{subject['flow']}: {attempt['outcome']}{_as_part(subject, told)}",
            attempt["detail"] or "",
            attempt["trace"] or "", well=attempt["outcome"] in ("confirmed", "unchanged", "removed"),
        )
        for subject in told["subjects"]
        for attempt in subject["tries"]
    ]  # fmt: skip


def _as_part(subject: Row, told: Row) -> str:
    return f", as part of {subject['subject']}" if subject["subject"] != told["key"] else ""


def _actions(actions: list[Row]) -> list[Happening]:
    return [
        Happening("action", float(a["at"]), f"{a['who']} {audit.did(a)}", a["why"])
        for a in actions
    ]


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """A record's fields as lines: `names[0].given`."""
    if isinstance(value, dict):
        return [line for name, each in value.items() for line in flat(each, f"{path}.{name}" if path else str(name))]
    if isinstance(value, list):
        return [line for i, each in enumerate(value) for line in flat(each, f"{path}[{i}]")]
    return [(path, value)]
