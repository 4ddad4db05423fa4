"""Holds the fields that a flow's settings name against those that its target says it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from canonical.finding import Finding
from flows.kit.toml_flow.documents import DocumentRules
from flows.kit.toml_flow.near import near
from flows.kit.toml_flow.settings import TomlFlowSettings
from flows.port import Columns, Target


async def columns_there(settings: TomlFlowSettings, target: Target) -> Sequence[Finding]:
    """One finding for each field that a document would have and its kind has not; none if the target cannot tell its fields."""
    if not isinstance(target, Columns):
        return []
    found: list[Finding] = []
    for kind, document in settings.documents.items():
        there = await target.columns(kind)
        if there is None:
            found.append(Finding(f"the target takes no documents of the kind `{kind}`", False, "look at its README for `kind`"))
            continue
        missing = [*_missing(kind, document, {*there})]
        found += missing or [Finding(f"{kind}: the target has all {len(document.map)} fields", True)]
    return found


def _missing(kind: str, document: DocumentRules, there: set[str]) -> Iterator[Finding]:
    named = [("map", field) for field in document.map] + [("refers", field) for field in document.refers]
    for setting, field in named:
        if field not in there:
            yield Finding(f"{setting}.{field}: {kind} has no field `{field}`{near(field, there)}", False, "mend it in the file")
