"""
Knows every entity by its type's name: ours, and those that installed packages add.

A package adds its entities through an entry point of the group `ironbridge.entities`, which names an entity or a tuple of
entities:

    [project.entry-points."ironbridge.entities"]
    housing = "housing.entities:HOUSING"

They are looked for when somebody asks for more than our own. One that cannot be taken is left out: the log and
`ironbridge check` say why, and all others work on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points

from canonical.entity import Entity, classified
from canonical.errors import MisconfiguredError

log = logging.getLogger(__name__)

GROUP = "ironbridge.entities"
_NAME = re.compile("[a-z][a-z0-9-]*")


class Entities(Mapping[str, type[Entity]]):
    """Every entity by its type's name, ours first. Each has a topic of its own."""

    def __init__(self, ours: Iterable[type[Entity]]) -> None:
        self._ours = {entity.type_name: entity for entity in ours}

    def __getitem__(self, name: str) -> type[Entity]:
        ours = self._ours.get(name)  # no package is looked for or imported for one of ours
        return ours if ours is not None else self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def version_of(self, name: str) -> int:
        """The version of an entity type's contract, which its events carry; 1 for a type that nobody declares any more."""
        entity = self._ours.get(name) or self.get(name)
        return entity.version if entity else 1

    @property
    def faults(self) -> list[MisconfiguredError]:
        """The reasons for which entities of installed packages were left out."""
        return self._found[1]

    @property
    def _all(self) -> dict[str, type[Entity]]:
        return self._found[0]

    @cached_property
    def _found(self) -> tuple[dict[str, type[Entity]], list[MisconfiguredError]]:
        found, faults = dict(self._ours), []
        for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
            try:
                added = {entity.type_name: entity for entity in _checked(point, found)}
            except MisconfiguredError as fault:
                log.error("%s", fault)  # noqa: TRY400 (it says all there is to say)
                faults.append(fault)
            else:
                found |= added
        return found, faults


def _checked(point: EntryPoint, known: Mapping[str, type[Entity]]) -> Iterator[type[Entity]]:
    """The entities that an entry point names."""
    for entity in _named(point):
        if fault := _fault(entity, known):
            shown = getattr(entity, "__name__", type(entity).__name__)
            raise _left_out(point, f"{shown} {fault}")
        yield entity


def _named(point: EntryPoint) -> tuple[type[Entity], ...]:
    try:
        named = point.load()
    except Exception as error:  # a package may raise anything while it is imported
        raise _left_out(point, f"cannot be imported ({type(error).__name__})") from error
    return tuple(named) if isinstance(named, list | tuple) else (named,)


def _fault(entity: type[Entity], known: Mapping[str, type[Entity]]) -> str:
    """Say why an entity cannot be taken; empty if it can."""
    if not isinstance(entity, type) or not issubclass(entity, Entity):
        return "is no canonical.Entity"
    name = getattr(entity, "type_name", "")
    if not _NAME.fullmatch(name):
        return "has no type_name of small letters, digits and dashes"
    if known.get(name, entity) is not entity:
        return f"has the type_name `{name}`, which is taken by {known[name].__module__}.{known[name].__name__}"
    if not isinstance(getattr(entity, "standard", None), str):
        return "does not say which standard it follows (`standard`)"
    if entity.owned_by not in entity.model_fields:
        return f"is owned by `{entity.owned_by}`, which is none of its fields"
    if bare := [path for path, kind in classified(entity) if kind is None]:
        return f"has a field without a classification: `{bare[0]}`"
    return _unbuildable(entity)


def _unbuildable(entity: type[Entity]) -> str:
    """Say why what checks an entity cannot be built, which would otherwise fail at its first use."""
    try:
        entity.model_rebuild()
    except Exception as error:  # pydantic's own, or whatever a type of the package raises
        return f"has a field that cannot be checked ({type(error).__name__})"
    return ""


def _left_out(point: EntryPoint, what: str) -> MisconfiguredError:
    package = f" of {point.dist.name}" if point.dist else ""
    where = f"entry point `{point.name}`{package} in {GROUP}"
    return MisconfiguredError(where, f"{point.value}: {what}", fix="mend that package, or uninstall it")
