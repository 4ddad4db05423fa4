"""Every command of ours that a message, a page, a document or a runbook prints is one that the program has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from ironbridge.program import app

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("adapters", "canonical", "flows", "ironbridge", "deploy", "docs", "examples", "bench", "README.md")
KINDS = {".py", ".md", ".html", ".toml", ".yaml", ".yml", ".txt", ".tpl", ".jinja"}
QUOTED = re.compile(
    r"`ironbridge ([^`]+)`|<code>ironbridge ([^<]+)</code>|^\s*\$ (?:\.venv/bin/)?ironbridge ([^#\n|]+)", re.MULTILINE
)
STANDS_FOR = re.compile(r"\{\{.*?\}\}|\{[^{}]*\}|<[^<>]*>|%s|…|'[^']*'|\"[^\"]*\"")
"""What the text fills in, or a person."""


def printed() -> Iterator[str]:
    for place in PLACES:
        files = [ROOT / place] if (ROOT / place).is_file() else sorted((ROOT / place).rglob("*"))
        for file in files:
            if file.suffix in KINDS and "node_modules" not in file.parts:
                for found in QUOTED.finditer(file.read_text("utf-8", "replace")):
                    yield next(filter(None, found.groups())).strip()


def faults(said: str) -> list[str]:
    """What the program lacks for a command: the command itself, an option, a place for an argument."""
    words = shlex.split(STANDS_FOR.sub(" x ", said))
    command: Any = typer.main.get_command(app)
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        name, *words = words
        several = [command.commands.get(each) for each in name.split("|")]
        if None in several:
            return [f"there is no command {name}"]
        command = several[0]
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    valued = {name for each in command.params if not getattr(each, "is_flag", True) for name in each.opts}
    places, options, rest = [], [], iter(words)
    for word in rest:
        name, equals, _ = word.partition("=")
        if word.startswith("-"):
            options.append(name)
            if name in valued and not equals:
                next(rest, None)
        else:
            places.append(word)
    room = sum(100 if each.nargs < 0 else each.nargs for each in command.params if each.param_type_name == "argument")
    return [f"{name} is no option of it" for name in options if name not in known] + (
        [f"it does not take {places}"] if len(places) > room else []
    )


COMMANDS = sorted(set(printed()))


@pytest.mark.parametrize("said", COMMANDS)
def test_a_command_that_is_printed_is_there(said: str) -> None:
    assert not faults(said)


def test_the_commands_are_found_and_a_wrong_one_is_not_taken_for_a_right_one() -> None:
    assert len(COMMANDS) >= 60
    assert faults("chekc") == ["there is no command chekc"]
    assert faults("check --verbose") == ["--verbose is no option of it"]
    assert faults("status business_central") == ["it does not take ['business_central']"]
    assert not faults("check business_central --file x.toml --json")
