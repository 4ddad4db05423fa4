"""The files of an adapter's package: code, entities, a sample of its settings, a suite and a README."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import make_url

from canonical.connect.sql import EXTRAS
from ironbridge.scaffold.guess import Meaning, TableDraft, draft
from ironbridge.scaffold.package import Files, literal, rendered
from ironbridge.scaffold.source import EXAMPLE, FoundTable
from ironbridge.scaffold.source_files import EXAMPLE_FILE, EXAMPLE_LIST

_RESERVED = {"order", "group", "table", "index", "select", "from", "to", "where", "case", "check", "primary", "values", "user"}
_ROWS = 3  # invented rows of each table
_SQL_KIT = ("from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream",)
_REST_KIT = ("from adapters.kit.rest import Numbered, RestAdapter, RestSettings, RestStream",)
_SOAP_KIT = ("from adapters.kit.soap import Numbered, SoapAdapter, SoapSettings, SoapStream",)
_DEBEZIUM_KIT = ("from adapters.kit.debezium import DebeziumAdapter, DebeziumSettings, DebeziumStream",)
_FILES_KIT = (
    "from adapters.kit.delimited import Delimited",
    "from adapters.kit.files import FilesAdapter, FilesSettings, FileStream",
)


@dataclass(frozen=True, slots=True)
class SqlPackage:
    """An adapter's package to be written: its name, the tables it reads, and how the source is reached."""

    name: str
    tables: tuple[FoundTable, ...] = (EXAMPLE,)
    url: str = "postgresql://reader@host/database"
    schema: str | None = None

    def files(self) -> Files:
        drafts = _drafts(self.name, self.tables)
        hooks = _hooks(self.name, drafts[0])
        more = {"url": self.url, "schema": self.schema, "extra": EXTRAS.get(make_url(self.url).get_backend_name(), ""), **hooks}
        yield from _package(self.name, drafts, more, "", _SQL_KIT)


@dataclass(frozen=True, slots=True)
class CsvPackage:
    """The package of an adapter that reads CSV files, to be written: its name, and the files that were looked at."""

    name: str
    tables: tuple[FoundTable, ...] = (EXAMPLE_FILE,)

    def files(self) -> Files:
        drafts = _drafts(self.name, self.tables)
        yield from _package(self.name, drafts, _edits(self.name, drafts[0]), "files_", _FILES_KIT)


@dataclass(frozen=True, slots=True)
class ListPackage:
    """The package of an adapter that reads a service's lists over HTTP, to be written as an example."""

    name: str
    tables: tuple[FoundTable, ...] = (EXAMPLE_LIST,)

    def files(self) -> Files:
        drafts = _drafts(self.name, self.tables)
        yield from _package(self.name, drafts, _edits(self.name, drafts[0]), "rest_", _REST_KIT)


@dataclass(frozen=True, slots=True)
class OperationPackage:
    """The package of an adapter that calls a SOAP service's operations, to be written as an example."""

    name: str
    tables: tuple[FoundTable, ...] = (EXAMPLE_LIST,)

    def files(self) -> Files:
        drafts = _drafts(self.name, self.tables)
        more = {**_edits(self.name, drafts[0]), "extra": "soap"}
        yield from _package(self.name, drafts, more, "soap_", _SOAP_KIT)


@dataclass(frozen=True, slots=True)
class DebeziumPackage:
    """The package of an adapter that reads Debezium's topics, to be written as an example."""

    name: str
    tables: tuple[FoundTable, ...] = (EXAMPLE_LIST,)

    def files(self) -> Files:
        drafts = _drafts(self.name, self.tables)
        yield from _package(self.name, drafts, _edits(self.name, drafts[0]), "debezium_", _DEBEZIUM_KIT)


@dataclass(frozen=True, slots=True)
class MessagesPackage:
    """The package of an adapter that a hospital sends HL7 messages to, to be written as an example."""

    name: str
    tables: tuple[FoundTable, ...] = ()

    def files(self) -> Files:
        drafts = [{"table": {"name": "PID"}, "type_name": "person"}, {"table": {"name": "PV1"}, "type_name": "hospital-stay"}]
        given: dict[str, Any] = {"name": self.name, "extra": "", "drafts": drafts, "own": ()}
        for file, template in {
            "pyproject.toml": "pyproject.toml",
            f"{self.name}/__init__.py": "hl7_adapter.py",
            f"{self.name}/settings.sample.toml": "hl7_settings.sample.toml",
            f"tests/test_{self.name}.py": "test_hl7_adapter.py",
            "tests/cases/discharge.toml": "hl7_discharge.toml",
            "tests/cases/merge.toml": "hl7_merge.toml",
            "README.md": "README.md",
        }.items():
            yield file, _text(template, given)


def _drafts(name: str, tables: Sequence[FoundTable]) -> list[_Written]:
    return [_Written(each) for each in draft(name, list(tables))]


def _package(name: str, drafts: list[_Written], more: Mapping[str, Any], kind: str, kit: Sequence[str]) -> Files:
    own = [each for each in drafts if not each.is_person]
    today = f"{datetime.now(UTC):%d %B %Y}"
    given: dict[str, Any] = {"name": name, "extra": "", "drafts": drafts, "own": own, "today": today, **more}
    yield "pyproject.toml", _text("pyproject.toml", given)
    yield f"{name}/__init__.py", _text(f"{kind}adapter.py", given | {"imports": _imports(name, drafts, kit)})
    if own:
        entities = given | {"drafts": own, "imports": _entity_imports(own)}
        yield f"{name}/entities.py", _text("entities.py", entities)
    yield f"{name}/settings.sample.toml", _text(f"{kind}settings.sample.toml", given)
    yield f"tests/test_{name}.py", _text(f"test_{kind}adapter.py", given | {"imports": _test_imports(drafts)})
    yield "README.md", _text("README.md", given)


def _text(template: str, given: dict[str, Any]) -> str:
    return rendered(f"adapter/{template}", given)


class _Written:
    """A draft, with its parts as they are written in Python."""

    def __init__(self, its: TableDraft) -> None:
        self._its = its

    def __getattr__(self, name: str) -> Any:
        return getattr(self._its, name)

    @property
    def function(self) -> str:
        return f"{self._its.stream}_row"

    def carries(self, meaning: Meaning) -> bool:
        """Tell whether a value of the column shows in the entity, and must be right."""
        shown = not self._its.is_person or meaning.means is not None
        return shown and not (meaning.is_key or meaning.names or meaning.soft)

    @property
    def table_name(self) -> str:
        return literal(self._its.table.declared)

    @property
    def key_names(self) -> str:
        names = [f'"{each.field}"' for each in self._its.key]
        return names[0] if len(names) == 1 else f"({', '.join(names)})"

    @property
    def key_values(self) -> str:
        return ", ".join(f"row.{each.field}" for each in self._its.key)

    @property
    def name_arguments(self) -> str:
        found = [(means, self._its.of(means)) for means in ("given", "family")]
        return ", ".join(f"{means}=row.{each.field}" for means, each in found if each)

    @property
    def file(self) -> str:
        return f"{self._its.table.file}.csv"

    @property
    def pattern(self) -> str:
        """How the stream's files are called: digits in the name of the one that was looked at tell which extract it is."""
        parts = [re.escape(part).replace(r"\ ", " ") for part in re.split(r"\d[\d_-]*\d|\d", self._its.table.file, maxsplit=1)]
        return f'r"{"(?P<extract>[0-9_-]+)".join(parts)}[.]csv"'

    @property
    def cells(self) -> list[list[tuple[str, str]]]:
        """Invented rows, as a file has them."""
        columns = self._its.columns
        return [[(literal(e.column.name), literal(_cell(e, n))) for e in columns] for n in range(1, _ROWS + 1)]

    @property
    def rows(self) -> list[list[tuple[str, str]]]:
        """Invented rows, each as the names and values of its columns in Python."""
        columns = self._its.columns
        return [[(literal(e.column.name), literal(_invented(e, n))) for e in columns] for n in range(1, _ROWS + 1)]


def _invented(meaning: Meaning, n: int) -> Any:
    """An invented value of a column, another one in each row; a key that is named is one that is there."""
    kind = meaning.column.kind
    if meaning.soft:
        return "SY1 1AA" if meaning.means == "postcode" else None
    moment = datetime(2026, 1, n, 9)  # noqa: DTZ001 (a source's own time has no zone)
    plain = {int: n, bool: n % 2 == 0, date: date(1980 + n, 1, n), datetime: moment}
    return plain.get(kind, Decimal(n) / 2 if kind is Decimal else f"{meaning.column.name.capitalize()} {n}")


def _hooks(name: str, its: _Written) -> dict[str, str]:
    """The statements by which the suite changes, deletes, breaks and mends a record of the first table."""
    where = [" AND ".join(f"{_named(k.column.name)} = {_sql(_invented(k, n))}" for k in its.key) for n in (1, 2)]
    table, shown = _named(its.table.name), [each for each in its.columns if its.carries(each)]
    change = shown[0]
    spoilt = next((each for each in shown if each.column.kind in (date, datetime, int, Decimal)), change)
    bad = "'none'" if spoilt.column.kind is not str else "x'ff'"

    def update(meaning: Meaning, value: str) -> str:
        return literal(f"UPDATE {table} SET {_named(meaning.column.name)} = {value} WHERE {where[0]}")  # noqa: S608 (for a test)

    keys = [":".join(str(_invented(k, n)) for k in its.key) for n in (1, 2)]
    return {
        "change": update(change, _sql(_invented(change, 9))),
        "spoil": update(spoilt, bad),
        "mend": update(spoilt, _sql(_invented(spoilt, 9))),
        "delete": literal(f"DELETE FROM {table} WHERE {where[1]}"),  # noqa: S608 (for a test)
        "first_key": f"{name}:{its.type_name}:{keys[0]}",
        "second_key": f"{name}:{its.type_name}:{keys[1]}",
    }


def _edits(name: str, its: _Written) -> dict[str, str]:
    """What the suite does to the cells of the first file."""
    shown = [each for each in its.columns if its.carries(each)]
    change = shown[0]
    spoilt = next((each for each in shown if each.column.kind is not str), None)
    right = _cell(spoilt or change, 8)
    keys = [":".join(str(_invented(k, n)) for k in its.key) for n in (1, 2)]
    return {
        "change": _cells(change, _cell(change, 9)),
        "spoil": _cells(spoilt or change, "none" if spoilt else "\x00"),
        "mend": _cells(spoilt or change, right),
        "first_key": f"{name}:{its.type_name}:{keys[0]}",
        "second_key": f"{name}:{its.type_name}:{keys[1]}",
    }


def _cells(meaning: Meaning, text: str) -> str:
    return f"{{{literal(meaning.column.name)}: {literal(text)}}}"


def _cell(meaning: Meaning, n: int) -> str:
    value = _invented(meaning, n)
    if isinstance(value, bool):
        return "Y" if value else "N"
    if isinstance(value, date):
        return f"{value:{meaning.column.form or '%Y-%m-%d'}}"
    return "" if value is None else str(value)


def _named(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) and name.lower() not in _RESERVED else f'"{name}"'


def _sql(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int | Decimal) else f"'{value}'"


def _test_imports(drafts: list[_Written]) -> list[str]:
    kinds = {each.column.kind for d in drafts for each in d.columns}
    days = sorted(kind.__name__ for kind in kinds & {date, datetime})
    return ([f"from datetime import {', '.join(days)}"] if days else []) + ["from decimal import Decimal"] * (Decimal in kinds)


def _imports(name: str, drafts: list[_Written], kit: Sequence[str]) -> list[str]:
    columns = [each for d in drafts for each in d.columns]
    kinds = {each.column.kind for each in columns}
    days = sorted(kind.__name__ for kind in kinds & {date, datetime})
    declared = " ".join(each.declared for each in columns)
    rows = [word for word in ("DayWritten", "Soft", "Spelt") if f"{word}[" in declared or f"{word}(" in declared] + ["row_of"]
    people = ["Address"] * any(d.of("postcode") for d in drafts) + ["Name"] * any(d.of("family") for d in drafts)
    people += ["Person"] * any(d.is_person for d in drafts)
    own = [d.entity for d in drafts if not d.is_person]
    lines = [f"from datetime import {', '.join(days)}"] if days else []
    lines += ["from decimal import Decimal"] if Decimal in kinds else []
    lines += [f"from typing import {'Annotated, ' if 'Annotated' in declared else ''}NamedTuple", ""]
    lines += [*sorted([f"from adapters.kit.rows import {', '.join(rows)}", *kit]), "from adapters.port import AdapterSystem"]
    lines += [f"from canonical import {', '.join(people)}"] if people else []
    lines += ["from canonical.key import key_of"]
    return lines + ([f"from {name}.entities import {', '.join(sorted(own))}"] if own else [])


def _entity_imports(drafts: list[_Written]) -> list[str]:
    own = [each for d in drafts for each in d.own]
    said = " ".join("Key PLAIN" if each.names else each.canonical for each in own)
    sensitive = [word for word in ("FINANCIAL", "IDENTIFYING", "PLAIN") if word in said]
    values = [word for word in ("Amount", "Day", "Text") if word in said]
    lines = ["from datetime import datetime"] if "datetime" in said else []
    lines += ["from decimal import Decimal"] if "Decimal" in said else []
    lines += ["from typing import Annotated, ClassVar", "", f"from canonical.entity import {', '.join([*sensitive, 'Entity'])}"]
    lines += ["from canonical.key import Key"] if "Key " in said else []
    return lines + ([f"from canonical.values import {', '.join(values)}"] if values else [])
