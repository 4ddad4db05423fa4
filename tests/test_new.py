"""`ironbridge new`: the package that it writes passes its tests as it is, whatever the source's tables look like."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import runpy
import subprocess
import sys
import tomllib
from contextlib import AsyncExitStack
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    insert,
)
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.files import FilesSettings
from adapters.kit.sql import SqlSettings
from adapters.testing import Bench
from canonical import ENTITIES
from canonical.errors import MisconfiguredError
from flows.port import Fact, Facts
from ironbridge.scaffold.guess import draft
from ironbridge.scaffold.invented import invented
from ironbridge.scaffold.source import FoundColumn, FoundTable
from tests.test_cli import invoke

KINDS = ["sqlite", *(pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb"))]


def odd_tables() -> MetaData:
    """Tables as they are met: blanks and words of Python in names, keys of two columns, none at all, a picture."""
    odd = MetaData()
    Table(
        "TENANT", odd, Column("tenant_no", Integer, primary_key=True), Column("First Name", String(40)), Column("dob", Date),
        Column("surname", String(40), nullable=False), Column("ni_no", String(9)), Column("class", String(3)),
    )  # fmt: skip
    Table(
        "rent account", odd, Column("house_ref", String(10), primary_key=True), Column("seq", Integer, primary_key=True),
        Column("tenant", ForeignKey("TENANT.tenant_no")), Column("balance", Numeric(12, 2)), Column("rate", Float),
        Column("opened", DateTime), Column("live", Boolean), Column("pic", LargeBinary),
    )  # fmt: skip
    Table("notes", odd, Column("note", String(80)), Column("2nd note", String(80)), Column("tenant_no", Integer))
    return odd


async def filled(url: str) -> None:
    odd = odd_tables()
    engine = create_async_engine(url)
    rows: dict[str, list[dict[str, Any]]] = {
        "TENANT": [{"tenant_no": n, "surname": "Ash", "ni_no": "JG103759A" if n == 1 else "?"} for n in (1, 2)],
        "rent account": [{"house_ref": "A1", "seq": n, "tenant": n, "rate": 1.125, "live": True} for n in (1, 2)],
        "notes": [{"note": "x", "2nd note": "y", "tenant_no": 1}],
    }
    async with engine.begin() as connection:
        await connection.run_sync(odd.create_all)
        for name, some in rows.items():
            await connection.execute(insert(odd.tables[name]), some)
    await engine.dispose()


ASKED = ("--table", "tenant", "--table", "rent account", "--table", "notes")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_package_is_made_of_a_source_s_own_tables_and_reads_all_of_its_rows(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path / 'odd.db'}"
        if kind != "sqlite":
            url = await stack.enter_async_context(request.getfixturevalue(kind).database())
        await filled(url)
        await made_and_read(f"homes_of_{kind}", url, tmp_path, monkeypatch)


async def made_and_read(name: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "ironbridge", "new", "adapter", name, "--url", url, *ASKED, "--into", str(tmp_path)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert "notes: 3 columns, key note (a guess), 1 rows" in made.stderr
    monkeypatch.syspath_prepend(tmp_path / name)
    package = importlib.import_module(name)
    adapter = package.system.build(name, SqlSettings.model_validate({"url": url}))
    await adapter.open()
    assert [finding.what for finding in await adapter.check() if not finding.well] == []
    await adapter.close()
    bench = Bench(adapter)
    pump = bench.pump()
    events = {event.key: event for event in await bench.read(pump)}
    await pump.close()
    assert len(events) == 5
    account = package.RentAccount.from_bytes(events[f"{name}:{name.replace('_', '-')}-rent-account:A1:2"].data)
    assert (account.tenant, str(account.rate), account.live) == (f"{name}:person:2", "1.125", True)
    assert list(bench.problems()) == [f"{name}:person:2#incomplete"], "a number that is wrong costs itself"


MANY = "once or broken or bad or named or nothing_but or left_out"


FILES = ("--kind", "files")


def odd_files(folder: Path) -> tuple[str, str]:
    """Files as they are met: blanks in names, days in words of their own, a byte of cp1252, a column that is nowhere filled."""
    tenants, cards = folder / "Rent tenants 2024.csv", folder / "cards.csv"
    head = "Tenant No,First Name,Surname,DOB,Rent,NI No,class\n"
    tenants.write_bytes(f"{head}7,Ada,O\u2019Hara,05/01/1957,12.50,JG103759A,\n8,Bo,Birch,16/01/1957,1.5,?,\n".encode("cp1252"))
    cards.write_text("card,amount,paid on\n007,1.00,2026-01-05\n008,,\n")
    return str(tenants), str(cards)


def test_what_stands_in_files_decides_how_their_columns_are_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants, cards = odd_files(tmp_path)
    _, said = invoke("new", "adapter", "rents", *FILES, "--file", tenants, "--file", cards, "--into", str(tmp_path))
    assert "Rent tenants: 7 columns, key Tenant No (a guess), 2 rows" in said
    monkeypatch.syspath_prepend(tmp_path / "rents")
    package = importlib.import_module("rents")
    adapter = package.system.build("rents", FilesSettings(folders=(tmp_path,), glob=("*.csv",), settle=timedelta(0)))
    events = Bench(adapter).read()
    found = {event.key: event.data for event in asyncio.run(events) if event.data}
    assert sorted(found) == ["rents:person:7", "rents:person:8", "rents:rents-cards:007", "rents:rents-cards:008"]
    ada = ENTITIES["person"].from_bytes(found["rents:person:7"])
    assert (ada.names[0].family, ada.birth_date, ada.nino) == ("O\u2019Hara", date(1957, 1, 5), "JG103759A")


@pytest.mark.parametrize(
    ("asked", "scenarios"),
    [((), ""), (("--url", "", *ASKED), MANY), (FILES, ""), ((*FILES, "--file", "", "--file", "cards"), ""),
     (("--kind", "rest"), ""), (("--kind", "soap"), ""), (("--kind", "hl7"), ""), (("--kind", "debezium"), "")],
    ids=["an example", "odd tables", "an example of files", "odd files", "rest", "soap", "hl7", "debezium"],
)
async def test_what_is_written_passes_its_suite_and_a_linter(asked: tuple[str, ...], scenarios: str, tmp_path: Path) -> None:
    source = f"sqlite+aiosqlite:///{tmp_path / 'odd.db'}"
    if "--url" in asked:
        await filled(source)
    if "--file" in asked:
        source, cards = odd_files(tmp_path)
        asked = tuple(cards if word == "cards" else word for word in asked)
    command = [sys.executable, "-m", "ironbridge", "new", "adapter", "an_example", "--into", str(tmp_path)]
    subprocess.run([*command, *(word or source for word in asked)], check=True, capture_output=True)
    _passes(tmp_path / "an_example", scenarios)


def _passes(package: Path, scenarios: str = "") -> None:
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml", "-k", scenarios]
    said = subprocess.run(
        [*suite, "-o", "pythonpath=."], cwd=package, capture_output=True, text=True, check=False, env=_without_plugins()
    )
    assert said.returncode == 0, said.stdout
    assert "passed" in said.stdout
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,W,UP", "--line-length", "130", "."]
    linted = subprocess.run(lint, cwd=package, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout


def _without_plugins() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("Housing",), "`Housing` cannot be its name.*small letters"),
        (("canonical",), "there is a Python package `canonical` already"),
        (("homes", "--table", "t"), "--url and --table go together"),
        (("homes", "--file", "t.csv"), "--file is for --kind files"),
        (("homes", *FILES, "--table", "t"), "--url and --table are for --kind sql"),
        (("homes", *FILES, "--file", "t.csv"), "t.csv cannot be read as CSV .FileNotFoundError"),
        (("homes", "--url", "db2://x", "--table", "t"), "url: must begin with one of"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_remedy(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match=says):
        invoke("new", "adapter", *words, "--into", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_a_table_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'odd.db'}"
    await filled(url)
    command = [sys.executable, "-m", "ironbridge", "new", "adapter", "homes", "--url", url, "--table", "tenants"]
    done = subprocess.run([*command, "--into", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "has no table or view tenants" in done.stderr
    assert "there are: TENANT, notes, rent account" in done.stderr


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "homes").mkdir()
    with pytest.raises(MisconfiguredError, match="homes exists"):
        invoke("new", "adapter", "homes", "--into", str(tmp_path))


async def test_no_password_gets_into_the_package(tmp_path: Path, postgres_url: str) -> None:
    await filled(postgres_url)
    url = postgres_url.replace("@", ":hush@", 1)
    assert "hush" in url
    command = [sys.executable, "-m", "ironbridge", "new", "adapter", "homes", "--url", url, "--table", "notes"]
    done = subprocess.run([*command, "--into", str(tmp_path)], capture_output=True, text=True, check=False)
    written = "".join(path.read_text("utf-8") for path in (tmp_path / "homes").rglob("*") if path.is_file())
    assert "hush" not in written + done.stdout + done.stderr
    assert "postgresql" in written


# -- a target, and a flow ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        ("target", "parks"),
        ("flow", "bills", "--target", "business_central", "--entity", "supplier", "--entity", "invoice", "--kind", "vendor"),
        ("flow", "born", "--target", "dfe_csc", "--entity", "person"),
    ],
    ids=lambda asked: " ".join(asked[:2]),
)
def test_what_is_written_for_the_other_side_passes_its_tests_and_a_linter(asked: tuple[str, ...], tmp_path: Path) -> None:
    assert invoke("new", *asked, "--into", str(tmp_path))[0] == 0
    _passes(tmp_path / asked[1])


@pytest.mark.parametrize("entity", sorted(ENTITIES))
def test_an_entity_of_any_kind_is_invented_for_the_test_of_a_flow(entity: str) -> None:
    given = invented(ENTITIES[entity], "housing")
    made = ENTITIES[entity].model_validate(given)
    assert made.key == f"housing:{entity}:1"
    assert ENTITIES[entity].from_bytes(made.to_bytes()) == made


def test_a_flow_s_document_holds_days_and_amounts_as_json_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invoke("new", "flow", "spent", "--target", "business_central", "--entity", "payment", "--into", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path / "spent")
    package = importlib.import_module("spent")
    flow = package.system.build("spent", package.SpentSettings(), None)
    payment = ENTITIES["payment"].model_validate(invented(ENTITIES["payment"], "housing"))
    known = Facts([Fact("payment", payment.key, payment.owner, 1, payment.to_bytes())], date(2026, 4, 1))
    document = flow.desired(payment.key, known)
    assert (document.kind, document.number) == ("payment", "1")
    assert {"amount": "12.50", "paymentDate": "2026-01-05"}.items() <= document.body.items()
    assert json.loads(json.dumps(document.body)) == document.body


def test_a_flow_leaves_special_category_fields_to_whoever_may_decide(tmp_path: Path) -> None:
    invoke("new", "flow", "born", "--target", "dfe_csc", "--entity", "person", "--into", str(tmp_path))
    code, test = ((tmp_path / "born" / file).read_text("utf-8") for file in ("born/__init__.py", "tests/test_born.py"))
    assert '# "ethnicity": person.ethnicity,  # special category' in code
    assert "ethnicity" not in test


def test_a_birthday_in_a_column_of_times_is_a_day() -> None:
    kinds = {"ID": int, "SURNAME": str, "DOB": datetime}
    columns = tuple(FoundColumn(name, kind, optional=name != "ID") for name, kind in kinds.items())
    (people,) = draft("peeps", [FoundTable("PEOPLE", ("ID",), columns)])
    born = people.of("birth_date")
    assert born is not None
    assert born.declared == "date | None"


TOML = ("--target", "business_central", "--toml", "--entity")


@pytest.mark.parametrize("entity", ["person", "invoice", "tenancy"])
def test_a_flow_is_written_as_a_section_behind_all_others_and_its_test_passes(entity: str, tmp_path: Path) -> None:
    settings = tmp_path / "ironbridge.toml"
    settings.write_text("[kafka]\nbroker = 'none'\n")
    assert invoke("new", "flow", "contacts", *TOML, entity, "--kind", "vendor", "--into", str(tmp_path))[0] == 0
    text, test = settings.read_text("utf-8"), tmp_path / "test_contacts.py"
    there = tomllib.loads(text)
    assert (there["kafka"], there["flows"]["contacts"]["kind"]) == ({"broker": "none"}, "vendor")
    marked = [line for line in text.partition(".map]\n")[2].splitlines() if "# guess" in line or "special category" in line]
    assert len(marked) == len(text.partition(".map]\n")[2].splitlines()) >= len(there["flows"]["contacts"]["map"])
    assert len([line for line in test.read_text("utf-8").splitlines() if line]) <= 15
    runpy.run_path(str(test))["test_what_is_known_becomes_a_document"]()
    lint = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,W,UP,I", "--line-length", "130", str(test)]
    assert subprocess.run(lint, capture_output=True, check=False).returncode == 0


def test_a_section_is_never_written_twice_nor_into_a_file_that_is_no_toml(tmp_path: Path) -> None:
    words = ("new", "flow", "contacts", *TOML, "person", "--into", str(tmp_path))
    invoke(*words)
    with pytest.raises(MisconfiguredError, match=r"has a section \[flows.contacts\]"):
        invoke(*words)
    (tmp_path / "ironbridge.toml").write_text("[flows\n")
    with pytest.raises(MisconfiguredError, match="is not TOML"):
        invoke(*words)
    with pytest.raises(MisconfiguredError, match="--toml takes one --entity"):
        invoke(*words, "--entity", "invoice")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("target", "canonical"), "there is a Python package `canonical` already"),
        (("flow", "bills", "--target", "sage", "--entity", "supplier"), "sage is no kind of target.*there are: business_central"),
        (("flow", "bills", "--target", "dfe_csc", "--entity", "vendor"), "vendor is no entity.*supplier"),
    ],
)
def test_another_side_that_cannot_be_made_is_refused_with_the_remedy(words: tuple[str, ...], says: str, tmp_path: Path) -> None:
    with pytest.raises(MisconfiguredError, match=says):
        invoke("new", *words, "--into", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
