"""
No class name stands for two things: each is defined once in the whole house. `python -m security.class_names`.

A reader who meets a name then knows the class, and docs/words.md can name it. Tests, benchmarks and examples may repeat a name.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = ("canonical", "adapters", "flows", "ironbridge")


def found(root: Path = ROOT) -> list[str]:
    """A sentence for each name that several classes have, with the places of all of them."""
    places = defaultdict(list)
    for name, place in _classes(root):
        places[name].append(place)
    twice = {name: where for name, where in places.items() if len(where) > 1}
    return [f"{', '.join(where)}: `{name}` names {len(where)} classes" for name, where in sorted(twice.items())]


def _classes(root: Path) -> Iterator[tuple[str, str]]:
    for file in (file for room in ROOMS for file in sorted((root / room).rglob("*.py"))):
        if "tests" not in file.relative_to(root).parts:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield node.name, f"{file.relative_to(root)}:{node.lineno}"


def main() -> int:
    breaches = found()
    for each in breaches:
        print(each, file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
