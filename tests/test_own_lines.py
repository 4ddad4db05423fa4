"""A system's own code is small: what is general stands in the kit."""

from __future__ import annotations

import ast
import importlib
import io
import tokenize
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from adapters.port import AdapterSystem, Push

ADAPTERS = Path(__file__).resolve().parents[1] / "adapters"
SYSTEMS = sorted(each.parent.name for each in ADAPTERS.glob("*/settings.sample.toml"))
APART = {"tests", "cases", "world"}
MOST = 60
"""Lines of code of a system's own for each of its streams: rows and mapping."""

LARGER = {"payables": 1742}
"""A system that keeps to it not yet: it may have so many."""

_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def own(system: str) -> list[str]:
    """The text of a system's modules, without its world, its cases and its tests."""
    folder = ADAPTERS / system
    modules = [each for each in folder.rglob("*.py") if not APART.intersection(_words(each.relative_to(folder)))]
    return [each.read_text("utf-8") for each in modules]


def _words(path: Path) -> set[str]:
    return {word for part in path.with_suffix("").parts for word in (part, part.split("_")[0])}


def lines_of_code(text: str) -> int:
    """The number of lines with code: no blank ones, no comments, no docstrings."""
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            told.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    tokens = [each for each in tokenize.generate_tokens(io.StringIO(text).readline) if each.type not in _NO_CODE]
    return len({line for each in tokens for line in range(each.start[0], each.end[0] + 1)} - told)


def streams_of(name: str, folder: Path) -> int:
    """
    The number of streams of a system, read as its world is.

    A system that pushes has one stream whatever it sends, because all records of a message are published in one transaction. It
    counts as one stream for each entity that it publishes: each has a row class and a mapping, as it has in a system that is
    read, where a stream publishes one entity.
    """
    system: AdapterSystem[BaseModel] = importlib.import_module(f"adapters.{name}").system
    section = tomllib.loads(system.sample)["adapters"][name] if system.world is None else system.world().section(folder)
    streams = system.build(name, system.settings.model_validate(dict(section))).streams()
    return sum(len(each.entities) if isinstance(each.reading, Push) else 1 for each in streams)


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_has_few_lines_of_its_own_for_a_stream(system: str, tmp_path: Path) -> None:
    lines, streams = sum(map(lines_of_code, own(system))), streams_of(system, tmp_path)
    assert lines <= LARGER.get(system, MOST) * streams, f"{system}: {lines} lines for {streams} streams"


def test_a_line_of_code_is_one_that_does_something() -> None:
    text = '"""Says something.\n\nAnd more."""\n\n# why\nx = (\n    1,  # one\n)\n\n\ndef f():\n    """Do it."""\n    return x\n'
    assert lines_of_code(text) == 5
