"""
The state has one owner: SQL that names its tables stands in ironbridge/store/ alone. `python -m security.state_owner`.

A column is then changed in one room, whatever shows it. Tests, benchmarks and the torture judge the state from outside and may
ask it themselves.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ironbridge.store.tables import metadata

ROOT = Path(__file__).parent.parent
ROOMS = ("canonical", "adapters", "flows", "ironbridge")
OWNER = Path("ironbridge", "store")
_SQL = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+\"?({'|'.join(sorted(metadata.tables))})\b")
_INWARD = ("ironbridge.store.bulk", "ironbridge.store.tables")
"""Modules that only the store needs: who imports them is about to write SQL."""


def found(root: Path = ROOT) -> list[str]:
    """A sentence for each place outside the store that names one of the state's tables in SQL, or makes SQL for the state."""
    files = (file for room in ROOMS for file in sorted((root / room).rglob("*.py")))
    return [
        f"{file.relative_to(root)}:{line}: {what}"
        for file in files
        if not file.is_relative_to(root / OWNER) and "tests" not in file.relative_to(root).parts
        for line, what in _breaches(ast.parse(file.read_text("utf-8")), ours=file.is_relative_to(root / "ironbridge"))
    ]


def _breaches(tree: ast.Module, *, ours: bool) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(words)) if table := _SQL.search(words):
                yield node.lineno, f"SQL on the state's table `{table[1]}`"
            case ast.ImportFrom(module="sqlalchemy", names=names) if ours and any(n.name == "text" for n in names):
                yield node.lineno, "`sqlalchemy.text`"
            case ast.ImportFrom(module=str(module), names=names):
                used = {module, *(f"{module}.{each.name}" for each in names)}
                yield from ((node.lineno, f"`{inward}`") for inward in _INWARD if inward in used)


def main() -> int:
    breaches = found()
    for each in breaches:
        print(each, file=sys.stderr)
    if breaches:
        print(
            "SQL for the state stands in ironbridge/store/ alone: put the query into a module there, by its topic, and let it "
            "give rows with names.",
            file=sys.stderr,
        )
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
