"""The legacy systems of the demonstration: an invented one for each section whose adapter has a world."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from adapters.port import World
from canonical.errors import MisconfiguredError
from ironbridge.runtime import installed
from ironbridge.runtime.systems import adapter_system

Sections = Mapping[str, Mapping[str, Any]]
"""The sections of `[adapters.*]`, by name."""


def sections(folder: Path) -> dict[str, dict[str, Any]]:
    """A section for each installed adapter that has a world; the worlds lie below the folder."""
    return {name: dict(system.world().section(folder)) for name, system in installed.adapters().items() if system.world}


def played(folder: Path, asked: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """The sections of those worlds that the demonstration plays: of others the ones that are asked for."""
    every, wanted = sections(folder), set(asked)
    worlds = {name: world for name, world, _ in _worlds(every)}
    return {name: section for name, section in every.items() if worlds[name].in_demonstration or name in wanted}


def sizes_of(asked: list[str]) -> dict[str, int]:
    """
    Read how many records each legacy system is to have, from words such as `liquidlogic=400`.

    :raises MisconfiguredError: a word is not of that form.
    """
    sizes = {}
    for word in asked:
        name, _, size = word.partition("=")
        if not name or not size.isascii() or not size.isdigit() or int(size) < 1:
            raise MisconfiguredError("--size", f"`{word}` is no size", fix="name a system and a number: liquidlogic=400")
        sizes[name] = int(size)
    return sizes


def described(adapters: Sections, sizes: Mapping[str, int]) -> str:
    """Tell how much the legacy systems hold, e.g. "400 children and 600 invoices"."""
    return " and ".join(f"{sizes.get(name, world.size):,} {world.unit}" for name, world, _ in _worlds(adapters))


def chart(adapters: Sections) -> dict[str, dict[str, Any]]:
    """The accounts and dimensions that the records of all worlds name."""
    whole: dict[str, dict[str, Any]] = {"accounts": {}, "dimensions": {}}
    for _, world, _ in _worlds(adapters):
        for kind, named in world.chart.items():
            whole.setdefault(kind, {}).update(named)
    return whole


async def make(adapters: Sections, sizes: Mapping[str, int], seed: int) -> list[str]:
    """
    Fill every legacy system that is not filled yet; what was made, a sentence each.

    :raises MisconfiguredError: a size names no system with a world.
    """
    worlds = list(_worlds(adapters))
    if strange := sorted(sizes.keys() - {name for name, _, _ in worlds}):
        there = ", ".join(name for name, _, _ in worlds)
        raise MisconfiguredError("--size", f"no invented system is called {', '.join(strange)}", fix=f"there are: {there}")
    return [await world.make(settings, sizes.get(name, world.size), seed) for name, world, settings in worlds]


async def change(adapters: Sections, seed: int) -> list[str]:
    """Somebody works in every legacy system; what they did, in sentences."""
    return [said for _, world, settings in _worlds(adapters) for said in await world.change(settings, seed)]


def _worlds(adapters: Sections) -> Iterator[tuple[str, World[Any], Any]]:
    """The name of each section whose adapter has a world, the world, and the section as the adapter's settings."""
    for name, given in adapters.items():
        system, settings = adapter_system(name, given)
        if system.world is not None:
            yield name, system.world(), settings
