"""
Works out the edition of an adapter's mapping and of a flow: a digest of all that their outcome depends on besides the data.

That is the code of the system, of the kit that it uses and of the entities that it declares, pydantic's version, and a flow's
settings. The code is found by following imports from the system's own module. The port and the engine do not count, nor
does a world, a sandbox or a test. `from canonical import Person` leads to the module that defines `Person`, and to no other
domain: a package counts only if it defines the name itself.

A deployment that changes an edition maps every row, or looks at every subject, again, once; only differences go out.
"""

from __future__ import annotations

import ast
import gc
import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import find_spec, resolve_name
from typing import Any

from pydantic_core import to_json

from canonical.entity import Entity

_OURS = frozenset(("canonical", "adapters", "flows"))
_APART = re.compile(r"(adapters|flows)\.(port|engine|systems)(\..*)?|.*\.(world\w*|sandbox\w*|testing|tests)(\..*)?")
"""Modules that no outcome depends on: they are not followed."""
_HOLDS_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)


def edition(code: str, entities: Iterable[type[Entity]], settings: Any = None) -> str:
    """
    Name what a mapping's outcome depends on besides the data.

    `code` says where the system is defined, as an entry point does (`adapters.liquidlogic:system`). `settings` are JSON
    values in a fixed order.
    """
    digest = blake2b(digest_size=12)
    for name, source in sorted(modules([code, *map(name_of, entities)]).items()):
        digest.update(f"{name} {len(source)} ".encode() + source)
    digest.update(to_json([version("pydantic"), settings]))
    return digest.hexdigest()


def name_of(kind: type) -> str:
    """Tell where a class is defined, in the form of an entry point."""
    return f"{kind.__module__}:{kind.__qualname__}"


def modules(roots: Iterable[str]) -> dict[str, bytes]:
    """
    The code that these things are made of, by module. It is followed within our own packages and those of the roots; of other
    distributions nothing counts.
    """
    named = [root.partition(":") for root in roots]
    tops = _OURS | {module.partition(".")[0] for module, _, _ in named}

    def counts(module: str) -> bool:
        return module.partition(".")[0] in tops and not _APART.fullmatch(module)

    todo = [_defined(module, name) for module, _, name in named]
    found: dict[str, bytes] = {}
    while todo:
        here = todo.pop()
        if here not in found:
            found[here] = _source(here)
            needed = (_defined(m, name) for m, name, _ in _imports(found[here], _package(here)) if counts(m))
            todo += filter(counts, needed)
    return found


def _defined(module: str, name: str) -> str:
    """The module that defines a name which is imported from `module`: a package may have it from another one."""
    tried: set[tuple[str, str]] = set()
    while name and (module, name) not in tried and _is_package(module):
        tried.add((module, name))
        if _spec(f"{module}.{name}"):
            return f"{module}.{name}"
        handed_on = {bound: (origin, had) for origin, had, bound in _imports(_source(module), module) if had}
        module, name = handed_on.get(name, (module, name))
    return module


@lru_cache(512)
def _imports(source: bytes, package: str) -> tuple[tuple[str, str, str], ...]:
    """The imports in some code: the module, the name in it (empty: the whole module), and what it is called here."""
    try:
        nodes = _statements(source)
    except (SyntaxError, ValueError):  # compiled code: it counts, but where it leads cannot be seen
        return ()
    whole = [(alias.name, "", "") for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [
        (resolve_name("." * node.level + (node.module or ""), package), alias.name, alias.asname or alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    return (*whole, *named)


def _statements(source: bytes) -> list[ast.AST]:
    """All statements of some code, at any depth. Garbage is not collected meanwhile: that would take most of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        nodes: list[ast.AST] = [ast.parse(source)]
        for node in nodes:  # it grows on the way
            nodes += [child for child in ast.iter_child_nodes(node) if isinstance(child, _HOLDS_STATEMENTS)]
        return nodes
    finally:
        if collecting:
            gc.enable()


def _is_package(module: str) -> bool:
    spec = _spec(module)
    return spec is not None and spec.submodule_search_locations is not None


def _package(module: str) -> str:
    spec = _spec(module)
    return (spec.parent or "") if spec else ""


def _spec(module: str) -> ModuleSpec | None:
    """Find a module's spec; None if it is not: an import in a function may name one that is not installed."""
    try:
        return find_spec(module)
    except (ImportError, ValueError):
        return None


def _source(module: str) -> bytes:
    """A module's code as it is now, from a folder or an archive. A namespace has none."""
    spec = _spec(module)
    get_data = getattr(spec and spec.loader, "get_data", None)
    data: bytes = get_data(spec.origin) if spec and spec.origin and get_data else b""
    return data
