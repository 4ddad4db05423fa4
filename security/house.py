"""
The import rule for systems: every folder with a `settings.sample.toml` below adapters/ and flows/ is one, and stands alone.

The rule finds them itself, so that a new folder is held to it without a line here. `lint-imports` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, output

ROOT = Path(__file__).parent.parent
SAMPLE = "settings.sample.toml"


def systems(root: Path = ROOT) -> list[str]:
    """The packages of all systems that lie in the repository, e.g. `adapters.liquidlogic`."""
    return sorted(f"{side}.{file.parent.name}" for side in ("adapters", "flows") for file in (root / side).glob(f"*/{SAMPLE}"))


class SystemsContract(Contract):
    """No system imports another, and nothing beside it in its house imports a system."""

    type_name = "systems"

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        breaches = sorted(breach for system in systems() for breach in _known_beside(graph, system))
        return ContractCheck(kept=not breaches, metadata={"breaches": breaches})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for breach in check.metadata["breaches"]:
            output.print_error(breach)
            output.new_line()


def _known_beside(graph: ImportGraph, system: str) -> Iterator[str]:
    """Each import of a system by a module of its house that is not its own."""
    own = {system, *graph.find_descendants(system)}
    for module in graph.find_descendants(system.partition(".")[0]) - own:
        yield from (f"{module} imports {known}" for known in graph.find_modules_directly_imported_by(module) & own)
