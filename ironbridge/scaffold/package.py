"""Writes a package's files into a folder of its name."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined

from canonical.errors import MisconfiguredError

Files = Iterator[tuple[str, str]]
"""Names, below the package's folder, and texts."""


class Scaffold(Protocol):
    """A package that can be written."""

    @property
    def name(self) -> str: ...

    def files(self) -> Files: ...


def write(scaffold: Scaffold, into: Path, command: str) -> list[Path]:
    """
    Write the package into a folder of its name; its files, in order. `command` is who asks, for errors.

    :raises MisconfiguredError: the name cannot be a package's, or there is such a folder already.
    """
    folder = into / scaffold.name
    _may(scaffold.name, folder, command)
    written = []
    for name, text in scaffold.files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        written.append(path)
    return written


def may_be_called(name: str, command: str) -> None:
    """:raises MisconfiguredError: the name cannot be that of a package or a section."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise MisconfiguredError(
            command, f"`{name}` cannot be its name", fix="use small letters, digits and _, as in rent_accounts"
        )


def _may(name: str, folder: Path, command: str) -> None:
    may_be_called(name, command)
    if importlib.util.find_spec(name) is not None:
        raise MisconfiguredError(command, f"there is a Python package `{name}` already", fix="choose another name")
    if folder.exists():
        raise MisconfiguredError(command, f"{folder} exists", fix="choose another name, or another folder with --into")


def rendered(template: str, given: dict[str, Any]) -> str:
    """Fill a template of this package."""
    environment = Environment(  # noqa: S701 (no page of a browser)  # nosec B701
        loader=PackageLoader("ironbridge.scaffold"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        undefined=StrictUndefined,
    )  # fmt: skip
    return environment.get_template(f"{template}.jinja").render(given)


def literal(value: Any) -> str:
    """Write a value as it stands in Python, texts in double quotes."""
    if isinstance(value, str) and '"' not in value and value.isprintable():
        return f'"{value}"'
    return repr(value).removeprefix("datetime.")
