"""The documents name files and functions that are there, and the README the figures of the torture that is kept."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUOTED = re.compile(r"`([^`\s]+)`")  # a command has a blank in it and is not looked at
LINKED = re.compile(r"\]\(([^)#]+)\)")


def names_in(body: list[ast.stmt], outer: str = "") -> set[str]:
    """The names that a body defines: functions, assigned names, and classes with their members as `Class.member`."""
    found = set[str]()
    for each in body:
        match each:
            case ast.ClassDef(name=name, body=inside):
                found |= {outer + name} | names_in(inside, f"{outer}{name}.")
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                found.add(outer + name)
            case ast.Assign(targets=targets):
                found |= {outer + target.id for target in targets if isinstance(target, ast.Name)}
    return found


@cache
def names_of(file: str) -> set[str]:
    path = ROOT / file
    return names_in(ast.parse(path.read_text("utf-8")).body) if path.is_file() else set()


@pytest.mark.parametrize(("document", "least"), [("words.md", 90), ("how-a-change-travels.md", 80)])
def test_every_file_and_function_that_a_document_names_is_there(document: str, least: int) -> None:
    text, file, named = (ROOT / "docs" / document).read_text("utf-8"), "", list[tuple[str, str]]()
    for word in QUOTED.findall(text):
        file, name = (word, "") if "/" in word else (file, word)  # a name belongs to the file before it
        named.append((file, name))
    assert [file for file, name in named if not name and not (ROOT / file).is_file()] == []
    assert [f"{file} {name}" for file, name in named if name and name not in names_of(file)] == []
    assert len(named) >= least
    assert [link for link in LINKED.findall(text) if not (ROOT / "docs" / link).exists()] == []


def test_the_readme_tells_how_often_the_kept_torture_killed_and_that_it_broke_no_promise() -> None:
    kept = json.loads((ROOT / "docs" / "torture" / "report.json").read_text("utf-8"))
    said = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert kept["violations"] == []
    assert f"The run that is kept killed it {sum(kept['kills'].values()):,} times in" in said
