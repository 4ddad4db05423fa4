"""`ironbridge new adapter`: the package that it writes passes its suite as it is, whatever the source's tables look like."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from contextlib import AsyncExitStack
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

from adapters.kit.sql import SqlSettings
from adapters.testing import Bench
from canonical.errors import MisconfiguredError
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
    assert "notes: 3 columns, key note (a guess: the database declares none), 1 rows" in made.stderr
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


@pytest.mark.parametrize(
    ("asked", "scenarios"), [((), ""), (("--url", "", *ASKED), MANY)], ids=["an example", "odd tables"]
)
async def test_what_is_written_passes_its_suite_and_a_linter(asked: tuple[str, ...], scenarios: str, tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'odd.db'}"
    if asked:
        await filled(url)
    command = [sys.executable, "-m", "ironbridge", "new", "adapter", "an_example", "--into", str(tmp_path)]
    subprocess.run([*command, *(word or url for word in asked)], check=True, capture_output=True)
    package = tmp_path / "an_example"
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
        (("homes", "--url", "oracle://x", "--table", "t"), "url: must begin with one of"),
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
