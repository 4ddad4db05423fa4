"""
A figure is one file in `sql/`: its definition as TOML in the first comment, then two macros of DuckDB.

`name(first_day, last_day)` gives the numbers, a line for each group. `name_rows(first_day, last_day)` gives the rows behind
them: a number of a group is the count of its rows (of those in which the column of the number's name is true, if it has one),
or the sum of that column.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from canonical import ENTITIES
from canonical.entity import Sensitivity, classified
from canonical.errors import MisconfiguredError

PROBLEM, WORKING_DAY = "problem", "working_day"
"""The relations that are no entity's: what the state knows of faulty rows, and the calendar."""
_READ = re.compile(r"\b(?:FROM|JOIN)\s+([a-z_0-9]+)\b")
_FLAG = re.compile(r"\bcount_if\((\w+)\) AS \1\b")
_HEAD = re.compile(r"/\*(.*?)\*/(.*)", re.DOTALL)


def relation_of(entity: str) -> str:
    """The name of an entity's relation: `care-episode` is read as `care_episode`."""
    return entity.replace("-", "_")


_RELATIONS = {relation_of(entity): entity for entity in ENTITIES}


@dataclass(frozen=True, slots=True)
class Figure:
    """
    A figure, as its file declares it. `by` are the columns that name a group, `chart` is the number that is drawn. `columns` says
    of each column of the rows behind it which canonical field it comes from, e.g. `assessment.start_date`: that decides who
    sees it.
    """

    name: str
    title: str
    unit: str
    definition: str
    source: str
    lacks: str
    chart: str
    by: tuple[str, ...]
    columns: Mapping[str, str]
    sql: str

    @property
    def macro(self) -> str:
        return self.name.replace("-", "_")

    @property
    def entities(self) -> dict[str, str]:
        """The entities that it reads, by the names of their relations."""
        return {name: _RELATIONS[name] for name in self._reads if name in _RELATIONS}

    @property
    def needs_state(self) -> bool:
        """It reads what the state knows, and no table."""
        return PROBLEM in self._reads

    @property
    def needs_days(self) -> bool:
        return WORKING_DAY in self._reads

    @property
    def _reads(self) -> list[str]:
        return sorted(set(_READ.findall(self.sql)))

    @property
    def flags(self) -> tuple[str, ...]:
        """The numbers that count the rows in which the column of the same name is true."""
        return tuple(_FLAG.findall(self.sql))

    @property
    def keys(self) -> frozenset[str]:
        """The columns of its rows that hold the key of a record."""
        named = {name for name, field in self.columns.items() if field.partition(".")[2] in ("key", "person", "supplier")}
        return frozenset(named - set(self.by))

    @property
    def hidden(self) -> frozenset[str]:
        """The columns of its rows that are shown only to those who may see personal fields."""
        return frozenset(name for name, field in self.columns.items() if not _plain(field))


def _plain(field: str) -> bool:
    entity, _, path = field.partition(".")
    return entity == PROBLEM or dict(classified(ENTITIES[entity])).get(path) is Sensitivity.PLAIN


@cache
def figures() -> Mapping[str, Figure]:
    """Every figure that ships, by its name."""
    found = sorted((each for each in (files(__package__) / "sql").iterdir() if each.name.endswith(".sql")), key=lambda e: e.name)
    return {each.name: each for each in (_read(file.name, file.read_text("utf-8")) for file in found)}


def _read(file: str, text: str) -> Figure:
    found = _HEAD.match(text)
    assert found is not None, file  # noqa: S101 (our own file)
    head: dict[str, Any] = {name: _wrapped(value) for name, value in tomllib.loads(found[1]).items()}
    return Figure(name=file.removesuffix(".sql").replace("_", "-"), sql=found[2].strip(), **head)


def _wrapped(value: object) -> object:
    if isinstance(value, str):
        return " ".join(value.split())
    return tuple(value) if isinstance(value, list) else value


def figure(name: str) -> Figure:
    """:raises MisconfiguredError: there is no figure of that name."""
    if name not in figures():
        raise MisconfiguredError("figures", f"{name} is no figure", fix=f"there are: {', '.join(figures())}")
    return figures()[name]
