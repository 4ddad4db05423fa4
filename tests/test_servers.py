"""The servers that tests use are real, empty for each test, and gone when the run ends."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.servers import MariaDB, Postgres


async def ask(url: str, *statements: str) -> list[object]:
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            return [(await connection.execute(text(s))).scalar() if "SELECT" in s else
                    await connection.execute(text(s)) for s in statements]  # fmt: skip
    finally:
        await engine.dispose()


async def test_every_postgresql_database_is_fresh_and_dropped(postgres: Postgres) -> None:
    async with postgres.database() as first, postgres.database() as second:
        await ask(first, "CREATE TABLE child (name text)", "INSERT INTO child VALUES ('Zoë')")
        assert await ask(first, "SELECT name FROM child") == ["Zoë"]
        assert await ask(second, "SELECT count(*) FROM pg_tables WHERE tablename = 'child'") == [0]
        assert "PostgreSQL" in str(await ask(second, "SELECT version()"))
    left = "SELECT count(*) FROM pg_database WHERE datname LIKE 't%' AND NOT datistemplate"
    assert await ask(postgres.url, left) == [0]


async def test_every_mariadb_database_is_fresh_and_dropped(mariadb: MariaDB) -> None:
    async with mariadb.database() as first, mariadb.database() as second:
        await ask(first, "CREATE TABLE child (name text)", "INSERT INTO child VALUES ('Zoë')")
        assert await ask(first, "SELECT name FROM child") == ["Zoë"]
        here = "SELECT count(*) FROM information_schema.tables WHERE table_schema = database()"
        assert await ask(second, here) == [0]
        assert "MariaDB" in str(await ask(second, "SELECT version()"))
    assert await ask(mariadb.url, "SELECT count(*) FROM information_schema.schemata WHERE schema_name LIKE 't%'") == [0]


async def test_a_database_fixture_gives_a_url_that_connects(postgres_url: str, mariadb_url: str) -> None:
    assert await ask(postgres_url, "SELECT 1") == [1]
    assert await ask(mariadb_url, "SELECT 1") == [1]


def test_the_shared_data_is_a_folder_with_the_vendors_contracts(shared: Path) -> None:
    assert (shared / "specs").is_dir()


ASKS_FOR_SHARED = "def test_it_reads(shared):\n    assert shared\n\ndef test_it_runs():\n    assert True\n"


def run_pytest(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    checkout = Path(__file__).resolve().parents[1]
    (folder / "conftest.py").write_text("from tests.fixtures import *\n")
    (folder / "test_it.py").write_text(ASKS_FOR_SHARED)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nmarkers =\n  shared: x\n  servers: x\n")
    env = {**os.environ, "PYTHONPATH": str(checkout), "IRONBRIDGE_SHARED": "nowhere", **environment}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_what_is_absent_is_skipped_and_named_in_one_line(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, CI="")
    assert done.returncode == 0
    assert (
        "NOT RUN because something is absent here: the shared reference data (nowhere; IRONBRIDGE_SHARED names another "
        "place) → tests of test_it.py\n1 passed, 1 skipped in "
    ) in done.stdout


def test_what_is_absent_fails_where_everything_must_be_tested(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, CI="true")
    assert done.returncode == 1
    assert "with CI=true every test must run" in done.stdout
    assert "1 passed, 1 error in " in done.stdout


@pytest.mark.parametrize("kind", ["servers", "shared"])
def test_a_test_is_marked_by_what_it_asks_for(kind: str, request: pytest.FixtureRequest) -> None:
    marked = {item.name for item in request.session.items if item.get_closest_marker(kind)}
    assert ("test_every_mariadb_database_is_fresh_and_dropped" in marked) == (kind == "servers")
