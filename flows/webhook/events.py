"""This flow tells a receiver of every change of some entities, as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from canonical import ENTITIES
from canonical.entity import Entity
from flows.port import Document, Facts, Grouping, Urgency
from flows.webhook.settings import EntityEventsSettings

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EntityEvents:
    """One document an entity: the webhook that tells of its newest version."""

    grouping = Grouping.KEY
    distinct: Literal[True] = True  # a document's number is its entity's key

    def __init__(self, name: str, settings: EntityEventsSettings) -> None:
        self.name = name
        self.entities: tuple[type[Entity], ...] = tuple(ENTITIES[each] for each in settings.entities)
        self.settings: Mapping[str, Any] = settings.model_dump(mode="json")
        self._shown = settings.shown

    def desired(self, subject: str, facts: Facts) -> Document | None:
        entity = next(iter(facts), None)
        if entity is None:
            return None
        name, version = entity.type_name, facts.version(entity)
        data = {
            "key": subject,
            "owner": entity.owner,
            "version": version,
            "entity": self._shown(name, json.loads(entity.to_bytes())),
        }
        body = {"type": f"{name.replace('-', '_')}.changed", "timestamp": _moment(version), "data": data}
        return Document(name, subject, body)

    def urgency(self, entity: str) -> Urgency:
        return Urgency.USUAL


def _moment(version: int) -> str:
    """The time at which a version was published: versions are milliseconds since 1970 (`adapters.engine.difference.fresh`)."""
    return (_EPOCH + timedelta(milliseconds=version)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
