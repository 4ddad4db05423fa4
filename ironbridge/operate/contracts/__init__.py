"""
Writes and checks the contracts that subscribers may rely on: a JSON Schema of each entity, and one AsyncAPI 3 document.

Each entity's released contract is a file in the folder `contracts` beside the entity's module, of ours in
canonical/contracts. A released version only ever grows: fields may be added that may be absent, limits may widen, a field
may become more sensitive. Anything else is a new version, with a file of its own. The AsyncAPI document is built from the
contracts whenever somebody asks for it, and is kept nowhere.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from canonical import ENTITIES, Entity
from canonical.errors import MisconfiguredError
from ironbridge.operate.contracts.document import asyncapi
from ironbridge.operate.contracts.growth import incompatibilities
from ironbridge.operate.contracts.schema import Schema, contract

__all__ = ["asyncapi", "check", "contract", "export", "home", "incompatibilities", "name_of"]

ASYNCAPI = "asyncapi.json"
_FILE = re.compile(r"([a-z0-9-]+)\.v([0-9]+)\.json")


def export(folder: Path | None = None) -> list[Path]:
    """
    Write the contracts; the files written.

    A folder gets `<type>.v<version>.json` of every entity, and `asyncapi.json`. Without one each entity's contract is written
    where its package keeps it.

    :raises MisconfiguredError: a schema there already would change so that its subscribers break; nothing is written.
    """
    places = {entity: folder or home(entity) for entity in ENTITIES.values()}
    broken = [sentence for entity, place in places.items() if place for sentence in _broken(place, entity)]
    if broken:
        raise MisconfiguredError("contracts", "; ".join(broken))
    documents = {place / name_of(entity): _written(contract(entity)) for entity, place in places.items() if place}
    if folder:
        documents[folder / ASYNCAPI] = _written(asyncapi())
    for file, text in documents.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return list(documents)


def check(folder: Path | None = None) -> list[str]:
    """
    Name each breach of the released contracts in a sentence; the list is empty if they are kept.

    Looks at all that `export` has written into a folder; without one, at what each package keeps. A package without a
    folder `contracts` has released nothing yet.
    """
    places: dict[Path, list[type[Entity]]] = {}
    for entity in ENTITIES.values():
        if (place := folder or home(entity)) and (folder or place.is_dir()):
            places.setdefault(place, []).append(entity)
    broken = [sentence for place, entities in places.items() for each in entities for sentence in _broken(place, each)]
    where = f" {folder}" if folder else ""
    run = f"run `ironbridge contracts export{where}` and commit it"
    for place, entities in places.items():
        documents = {name_of(entity): contract(entity) for entity in entities}
        broken += _outdated(place, documents | ({ASYNCAPI: asyncapi()} if folder else {}), run)
        broken += _gone(place)
    return broken


def home(entity: type[Entity]) -> Path | None:
    """The folder in which an entity's package keeps its released contracts; None if its module is in no package."""
    module = sys.modules[entity.__module__]
    return Path(inspect.getfile(entity)).parent / "contracts" if module.__package__ else None


def name_of(entity: type[Entity]) -> str:
    """The name of an entity's contract, `person.v1.json`."""
    return f"{entity.type_name}.v{entity.version}.json"


def _outdated(place: Path, documents: Mapping[str, Schema], run: str) -> Iterator[str]:
    for name, document in documents.items():
        if not (place / name).exists():
            yield f"{name} is missing: {run}"
        elif (place / name).read_text(encoding="utf-8") != _written(document):
            yield f"{name} is out of date: {run}"


def _gone(place: Path) -> Iterator[str]:
    for file in sorted(place.glob("*.json")):
        released = _FILE.fullmatch(file.name)
        entity = ENTITIES.get(released[1]) if released else None
        if released and (entity is None or entity.version < int(released[2])):
            yield f"{file.name} was released and is gone from the code: bring it back"


def _written(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _broken(folder: Path, entity: type[Entity]) -> list[str]:
    file = folder / name_of(entity)
    if not file.exists():
        return []
    return incompatibilities(json.loads(file.read_text(encoding="utf-8")), contract(entity))
