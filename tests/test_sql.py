"""Reading SQL databases: pages, parts, tails, rights and errors, on SQLite, PostgreSQL and MariaDB."""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr, ValidationError
from pymysql.err import OperationalError
from sqlalchemy import column, event, table, text
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.sql import Database, Parts, Reading, SqlSettings, row_version
from adapters.kit.sql_check import FILL
from adapters.kit.sql_moments import behind
from adapters.kit.sql_session import translated
from adapters.port import Page, Position, Record
from canonical.errors import MisconfiguredError, UnavailableError
from canonical.key import KeysOf

CHILDREN = table("child", *map(column, ("id", "name", "born", "form", "amount", "changed", "serial", "stamp")))
PETS = table("pet", *map(column, ("id", "owner", "name")))
ANSWERS = table("answer", *map(column, ("id", "form", "said")))
HOMES = table("home", *map(column, ("house", "room", "name")))

READING = Reading(
    keys=KeysOf("zoo", "child"),
    source=CHILDREN,
    key=(CHILDREN.c.id,),
    columns=tuple(CHILDREN.c[name] for name in ("id", "name", "born", "form", "amount")),
    where=CHILDREN.c.id != -1,
    parts=(
        Parts(PETS, (PETS.c.owner,), (PETS.c.name,), (PETS.c.id,)),
        Parts(
            source=ANSWERS.join(CHILDREN, CHILDREN.c.form == ANSWERS.c.form),
            owner=(CHILDREN.c.id,),
            columns=(ANSWERS.c.said,),
            order=(ANSWERS.c.id,),
        ),
    ),
)
ROOMS = Reading(KeysOf("zoo", "room"), HOMES, (HOMES.c.house, HOMES.c.room), tuple(HOMES.c))


@dataclass
class Zoo:
    """A small database of one of the three kinds, and what our reading sends to it."""

    url: str
    kind: str
    sent: list[str] = field(default_factory=list)
    _open: list[Database] = field(default_factory=list)

    async def run(self, *statements: str) -> None:
        engine = create_async_engine(self.url)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    async def open(self, url: str = "", **settings: Any) -> Database:
        database = Database("zoo", SqlSettings(url=SecretStr(url or self.url), **settings))
        self._open.append(database)
        await database.open()
        engine = database.session.engine
        assert engine is not None
        event.listen(engine.sync_engine, "before_cursor_execute", lambda *args: self.sent.append(args[2]))
        return database

    async def hang_up(self) -> None:
        """End every other connection to the database, as a restart of its server does."""
        list_them, end = {
            "postgres": (
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
                "SELECT pg_terminate_backend({})",
            ),
            "mariadb": (
                "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
                "KILL {}",
            ),
        }[self.kind]
        engine = create_async_engine(self.url)
        async with engine.connect() as connection:
            for number in (await connection.execute(text(list_them))).scalars().all():
                await connection.execute(text(end.format(number)))
        await engine.dispose()

    async def close(self) -> None:
        for database in self._open:
            await database.close()


async def _tables(zoo: Zoo) -> None:
    moment = {"sqlite": "DATETIME", "postgres": "TIMESTAMP", "mariadb": "DATETIME(6)"}[zoo.kind]
    await zoo.run(
        f"CREATE TABLE child (id BIGINT PRIMARY KEY, name VARCHAR(20), born {moment}, form BIGINT, "
        f"amount DECIMAL(9,2), changed {moment}, serial INT)",
        "CREATE TABLE pet (id BIGINT PRIMARY KEY, owner BIGINT, name VARCHAR(20))",
        "CREATE TABLE answer (id BIGINT PRIMARY KEY, form BIGINT, said VARCHAR(20))",
        "CREATE TABLE home (house BIGINT, room VARCHAR(5), name VARCHAR(20), PRIMARY KEY (house, room))",
        *(
            f"INSERT INTO child VALUES ({n}, 'Child {n}', '2015-03-01 00:00:00', {n + 100}, {n}.25, "
            f"'2026-01-0{1 + n // 3} 10:00:00.000000', {n // 3})"
            for n in range(1, 8)
        ),
        "INSERT INTO child (id, name) VALUES (-1, 'nobody')",
        "INSERT INTO pet VALUES (3, 2, 'Rex'), (1, 2, 'Ada'), (2, 5, 'Tom'), (4, -1, 'Stray')",
        "INSERT INTO answer VALUES (1, 102, 'yes'), (2, 107, 'no'), (3, -1, 'lost')",
        *(f"INSERT INTO home VALUES ({house}, '{room}', 'Room')" for house in (1, 2, 3) for room in "abc"),
    )


SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]


@asynccontextmanager
async def made(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Zoo]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite+aiosqlite:///{folder / 'zoo.db'}"
        else:
            url = await stack.enter_async_context(request.getfixturevalue(request.param).database())
        zoo = Zoo(url, request.param)
        await _tables(zoo)
        yield zoo
        await zoo.close()


@pytest.fixture(params=["sqlite", *SERVERS])
async def zoo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Zoo]:
    async with made(request, tmp_path) as zoo:
        yield zoo


@pytest.fixture(params=SERVERS)
async def server_zoo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Zoo]:
    async with made(request, tmp_path) as zoo:
        yield zoo


async def run(database: Database, statement: str) -> None:
    async with database.session.connection() as connection:
        await connection.execute(text(statement))
        await connection.commit()


NAPS = {"postgres": "SELECT pg_sleep(20)", "mariadb": "SELECT count(*) FROM child a, child b WHERE SLEEP(20) = 0"}


async def pages(pages: AsyncIterator[Page]) -> list[Page]:
    return [page async for page in pages]


async def records(found: AsyncIterator[Page]) -> list[Record]:
    return [record for page in await pages(found) for record in page.records]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_a_sweep_reads_every_row_once_whatever_the_page(zoo: Zoo, size: int) -> None:
    database = await zoo.open(page_size=size)
    found = await pages(database.sweep(READING).pages(None))
    assert [record.key for page in found for record in page.records] == [f"zoo:child:{n}" for n in range(1, 8)]
    assert [page.cursor for page in found] == [page.records[-1].position for page in found]
    assert max(len(page.records) for page in found) <= size


async def test_a_sweep_goes_on_behind_a_position_that_json_has_kept(zoo: Zoo) -> None:
    database = await zoo.open(page_size=2)
    first = await anext(aiter(database.sweep(READING).pages(None)))
    kept: Position = tuple(json.loads(json.dumps(first.cursor)))
    assert [r.position for r in await records(database.sweep(READING).pages(kept))] == [(n,) for n in range(3, 8)]


@pytest.mark.parametrize("size", [1, 2, 4, 9])
async def test_a_key_of_two_columns_pages_without_a_gap_or_a_repeat(zoo: Zoo, size: int) -> None:
    database = await zoo.open(page_size=size)
    found = await records(database.sweep(ROOMS).pages(None))
    assert [record.position for record in found] == [(house, room) for house in (1, 2, 3) for room in "abc"]
    assert found[3].key == "zoo:room:2:a"


async def test_rows_that_belong_to_a_record_nest_in_its_row_in_their_own_order(zoo: Zoo) -> None:
    database = await zoo.open()
    by_key = {record.key: record.row for record in await records(database.sweep(READING).pages(None))}
    assert by_key["zoo:child:2"][5:] == ((("Ada",), ("Rex",)), (("yes",),))
    assert by_key["zoo:child:3"][5:] == ((), ())
    assert by_key["zoo:child:7"][5:] == ((), (("no",),))


async def test_a_page_costs_one_query_and_one_for_each_kind_of_part(zoo: Zoo) -> None:
    database = await zoo.open(page_size=4)
    await records(database.sweep(READING).pages(None))
    zoo.sent.clear()  # the first reading also asks whether the columns are there
    await records(database.sweep(READING).pages(None))
    assert len(zoo.sent) == 2 * 3 + 1  # one for the rows without a key


async def test_a_row_is_a_plain_tuple_of_plain_values_and_reads_the_same_twice(zoo: Zoo) -> None:
    database = await zoo.open()
    first, second = [await records(database.sweep(READING).pages(None)) for _ in range(2)]
    assert [repr(record.row) for record in first] == [repr(record.row) for record in second]
    assert {type(record.row) for record in first} == {tuple}
    assert {type(value) for record in first for value in record.row} <= {int, float, str, Decimal, datetime, tuple}


async def test_only_select_is_ever_sent(zoo: Zoo) -> None:
    database = await zoo.open(page_size=3)
    await records(database.sweep(READING).pages(None))
    tail = database.tail(READING, CHILDREN.c.changed, overlap=timedelta(minutes=1), every=timedelta(hours=1))
    await records(tail.pages(None))
    await database.check([READING, ROOMS], {PETS: FILL})
    assert len(zoo.sent) > 10
    assert [each for each in zoo.sent if not re.match(r"SELECT\b", each)] == []


async def test_the_session_itself_could_not_write(zoo: Zoo) -> None:
    database = await zoo.open()
    with pytest.raises(UnavailableError):
        await run(database, "INSERT INTO pet VALUES (9, 9, 'Intruder')")
    async with database.session.connection() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM pet"))).scalar_one() == 4


# -- tails ------------------------------------------------------------------------------------------------------


def tail_of(database: Database, name: str = "changed", overlap: timedelta = timedelta(0)) -> Any:
    return database.tail(READING, CHILDREN.c[name], overlap=overlap, every=timedelta(hours=1))


@pytest.mark.parametrize("change", ["changed", "serial"])
@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_a_first_tail_reads_everything_that_has_a_change_value(zoo: Zoo, size: int, change: str) -> None:
    database = await zoo.open(page_size=size)
    found = await records(tail_of(database, change).pages(None))
    assert [record.position for record in found] == [(n,) for n in range(1, 8)]


@pytest.mark.parametrize("change", ["changed", "serial"])
async def test_a_tail_gives_the_very_rows_of_the_sweep_behind_it(zoo: Zoo, change: str) -> None:
    tail = tail_of(await zoo.open(page_size=2), change)
    assert await records(tail.pages(None)) == await records(tail.sweep.pages(None))


async def test_a_tail_goes_on_from_its_cursor_and_sees_what_is_new(zoo: Zoo) -> None:
    tail = tail_of(await zoo.open(page_size=3))
    cursor: Position = tuple(json.loads(json.dumps((await pages(tail.pages(None)))[-1].cursor)))
    await zoo.run("UPDATE child SET name = 'New', changed = '2026-01-09 08:30:15.250000' WHERE id = 2")
    found = await records(tail.pages(cursor))
    assert [record.position for record in found][-1] == (2,)
    assert (1,) not in [record.position for record in found]


async def test_a_tail_reads_again_from_a_little_before_its_cursor_for_late_commits(zoo: Zoo) -> None:
    database = await zoo.open()
    cursor = (await pages(tail_of(database).pages(None)))[-1].cursor
    await zoo.run("INSERT INTO child (id, name, changed) VALUES (20, 'Late', '2026-01-03 09:59:30.000000')")
    behind = [r.position for r in await records(tail_of(database, overlap=timedelta(minutes=1)).pages(cursor))]
    assert (20,) in behind
    assert (5,) not in behind
    assert (20,) not in [r.position for r in await records(tail_of(database).pages(cursor))]


async def test_a_change_time_in_the_future_blinds_no_tail_and_is_said(zoo: Zoo, caplog: pytest.LogCaptureFixture) -> None:
    database = await zoo.open(page_size=3)
    tail = tail_of(database, overlap=timedelta(minutes=2))
    await zoo.run("UPDATE child SET changed = '2062-01-03 10:00:00.000000' WHERE id IN (2, 6)")
    cursor = (await pages(tail.pages(None)))[-1].cursor
    assert str(cursor[0]).startswith("2026-01-03")
    await zoo.run("UPDATE child SET name = 'New', changed = '2026-01-05 10:00:00.000000' WHERE id = 3")
    found = [record.position for record in await records(tail.pages(cursor))]
    assert found[-3:] == [(3,), (2,), (6,)]
    assert caplog.text.count("2 rows of ") == 1, "it is logged once, not with each reading"
    assert "have a change time (child.changed) in the future" in caplog.text


async def test_a_tail_that_meets_nothing_but_the_future_still_sees_what_comes(zoo: Zoo) -> None:
    await zoo.run("UPDATE child SET changed = '2062-01-03 10:00:00.000000'")
    database = await zoo.open()
    cursor = (await pages(tail_of(database).pages(None)))[-1].cursor
    stamp = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
    await zoo.run(f"UPDATE child SET changed = '{stamp}' WHERE id = 4")
    assert (4,) in [record.position for record in await records(tail_of(database).pages(cursor))]


@pytest.mark.parametrize(("last", "later"), [("01:58", "01:05"), ("01:00", "01:00"), ("02:01", "01:59")])
async def test_the_hour_that_comes_twice_hides_nothing_from_a_tail(zoo: Zoo, last: str, later: str) -> None:
    await zoo.run(f"UPDATE child SET changed = '2025-10-26 {last}:00.000000' WHERE id = 1", "DELETE FROM child WHERE id > 1")
    database = await zoo.open()
    tail = tail_of(database, overlap=timedelta(minutes=2))
    cursor = (await pages(tail.pages(None)))[-1].cursor
    await zoo.run(f"INSERT INTO child (id, name, changed) VALUES (20, 'Later', '2025-10-26 {later}:00.000000')")
    assert (20,) in [record.position for record in await records(tail.pages(cursor))]


@pytest.mark.parametrize(
    ("cursor", "zone", "from_there"),
    [
        ("2026-06-01 12:00:00", "Europe/London", "2026-06-01 11:58:00"),
        ("2026-10-25 01:30:00.000000", "Europe/London", "2026-10-25 00:28:00.000000"),
        ("2026-10-25T02:01:00", "Europe/London", "2026-10-25T00:59:00"),
        ("2026-10-25 02:03:00", "Europe/London", "2026-10-25 02:01:00"),
        ("2026-10-25 01:30:00", "UTC", "2026-10-25 01:28:00"),
        ("2026-10-25 01:30:00+00:00", "Europe/London", "2026-10-25 01:28:00+00:00"),
        (41, "Europe/London", 41),
    ],
)
def test_a_tail_reads_again_from_where_a_later_change_may_stand(cursor: int | str, zone: str, from_there: int | str) -> None:
    assert behind(cursor, timedelta(minutes=2), ZoneInfo(zone)) == from_there


def test_a_time_zone_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="is no time zone such as Europe/London"):
        SqlSettings(url=SecretStr("sqlite:///x"), time_zone="Europe/Shropshire")


async def test_a_tail_by_a_number_reads_the_cursors_own_number_again(zoo: Zoo) -> None:
    database = await zoo.open()
    cursor = (await pages(tail_of(database, "serial").pages(None)))[-1].cursor
    assert cursor == (2, 7)
    assert [r.position for r in await records(tail_of(database, "serial").pages(cursor))] == [(6,), (7,)]


@pytest.mark.parametrize("size", [2, 100])
async def test_a_tail_by_a_row_version_of_eight_bytes_sees_what_is_new(zoo: Zoo, size: int) -> None:
    kind, as_bytes = {
        "sqlite": ("BLOB", "x'{:016x}'"),
        "postgres": ("BYTEA", "decode('{:016x}', 'hex')"),
        "mariadb": ("BINARY(8)", "x'{:016x}'"),
    }[zoo.kind]
    versions = [f"UPDATE child SET stamp = {as_bytes.format(250 + n)} WHERE id = {n}" for n in range(1, 8)]
    await zoo.run(f"ALTER TABLE child ADD COLUMN stamp {kind}", *versions)
    database = await zoo.open(page_size=size)
    tail = tail_of(database, "stamp")
    if zoo.kind == "mariadb":  # it has no such columns of its own
        with pytest.raises(MisconfiguredError, match=r"a change column holds bytes. To do: name a column of times, whole"):
            await pages(tail.pages(None))
        return
    found = await pages(tail.pages(None))
    assert [record.position for page in found for record in page.records] == [(n,) for n in range(1, 8)]
    cursor: Position = tuple(json.loads(json.dumps(found[-1].cursor)))
    assert cursor == (f"0x{257:016x}", 7)
    await zoo.run(f"UPDATE child SET stamp = {as_bytes.format(1 << 40)} WHERE id = 3")
    assert [record.position for record in await records(tail.pages(cursor))] == [(7,), (3,)]


def test_sql_server_is_asked_for_row_versions_in_their_own_type() -> None:
    stamp = CHILDREN.c.stamp
    written = READING.changes(stamp, stamp >= row_version((2001).to_bytes(8)), 5)
    compiled = written.compile(dialect=mssql.dialect())
    assert "child.stamp >= CAST(CAST(:param_2 AS BIGINT) AS BINARY(8))" in str(compiled)
    assert compiled.params["param_2"] == 2001


# -- rights and errors ------------------------------------------------------------------------------------------


async def test_a_check_of_what_can_be_read_finds_all_well(zoo: Zoo) -> None:
    findings = await (await zoo.open()).check([READING, ROOMS], {PETS: FILL})
    assert [finding for finding in findings if not finding.well] == []
    assert "child: 5 columns can be read" in [finding.what for finding in findings]


async def test_a_check_names_each_missing_column_and_table_and_what_to_do(zoo: Zoo) -> None:
    ghosts = table("ghost", column("id"))
    people = table("child", *map(column, ("id", "shoe_size")))
    await zoo.run("DELETE FROM pet")
    asked = [
        Reading(KeysOf("x", "a"), people, (people.c.id,), tuple(people.c)),
        Reading(KeysOf("x", "b"), ghosts, (ghosts.c.id,), tuple(ghosts.c)),
    ]
    bad = [finding for finding in await (await zoo.open()).check(asked, {PETS: FILL}) if not finding.well]
    assert [finding.what for finding in bad] == [
        "child.shoe_size: there is no such column",
        "ghost: there is no such table",
        "pet: has no rows",
    ]
    assert all(finding.fix for finding in bad)


async def test_a_missing_table_or_column_is_for_a_person_to_mend(zoo: Zoo) -> None:
    database = await zoo.open()
    ghosts = table("ghost", column("id"))
    with pytest.raises(MisconfiguredError, match="zoo: ghost: there is no such table"):
        await records(database.sweep(Reading(KeysOf("x", "b"), ghosts, (ghosts.c.id,), tuple(ghosts.c))).pages(None))
    odd = table("child", *map(column, ("id", "shoe_size")))
    with pytest.raises(MisconfiguredError, match=r"zoo: child\.shoe_size: there is no such column"):
        await records(database.sweep(Reading(KeysOf("x", "a"), odd, (odd.c.id,), tuple(odd.c))).pages(None))


async def test_a_database_that_was_not_opened_is_unavailable() -> None:
    database = Database("zoo", SqlSettings(url=SecretStr("sqlite:///nowhere.db")))
    with pytest.raises(UnavailableError, match="is not open"):
        await records(database.sweep(READING).pages(None))


@pytest.mark.parametrize("scheme", ["postgresql", "mysql", "mariadb"])
async def test_a_server_that_is_not_there_is_unavailable(scheme: str) -> None:
    database = Database("zoo", SqlSettings(url=SecretStr(f"{scheme}://me:hush@127.0.0.1:1/zoo")))
    with pytest.raises(UnavailableError, match=r"zoo: cannot be reached, or hung up. To do: check that") as caught:
        await database.open()
    assert "hush" not in str(caught.value)
    await database.close()


async def test_a_missing_sqlite_file_is_not_created(tmp_path: Path) -> None:
    database = Database("zoo", SqlSettings(url=SecretStr(f"sqlite:///{tmp_path / 'none.db'}")))
    with pytest.raises(MisconfiguredError, match="its SQLite file does not exist"):
        await database.open()
    assert not (tmp_path / "none.db").exists()
    assert [finding.well for finding in await database.check([READING])] == [False]


async def test_a_file_that_is_no_database_is_for_a_person_to_mend(tmp_path: Path) -> None:
    (tmp_path / "not.db").write_text("just some text, much longer than a header " * 20)
    database = Database("zoo", SqlSettings(url=SecretStr(f"sqlite:///{tmp_path / 'not.db'}")))
    await database.open()
    with pytest.raises(MisconfiguredError, match="the file or the database driver is missing"):
        await records(database.sweep(READING).pages(None))
    await database.close()


@pytest.fixture
async def reader_url(server_zoo: Zoo) -> AsyncIterator[str]:
    """The URL of a login with a password, which may read `child` and `pet` and nothing else."""
    postgres = server_zoo.kind == "postgres"
    who = "reader" if postgres else "reader@'127.0.0.1'"
    make = "CREATE ROLE reader LOGIN PASSWORD 'right'" if postgres else f"CREATE USER {who} IDENTIFIED BY 'right'"
    await server_zoo.run(make, f"GRANT SELECT ON child TO {who}", f"GRANT SELECT ON pet TO {who}")
    yield server_zoo.url.replace("ironbridge@", "reader:right@")
    await server_zoo.close()
    await server_zoo.run(*(["DROP OWNED BY reader", "DROP ROLE reader"] if postgres else [f"DROP USER {who}"]))


async def test_a_login_that_may_only_select_is_enough(server_zoo: Zoo, reader_url: str) -> None:
    plain = Reading(KeysOf("zoo", "child"), CHILDREN, (CHILDREN.c.id,), (CHILDREN.c.id,), parts=READING.parts[:1])
    database = await server_zoo.open(reader_url)
    assert len(await records(database.sweep(plain).pages(None))) == 8
    async with database.session.connection() as connection:
        assert server_zoo.kind == "mariadb" or (
            (await connection.execute(text("SHOW transaction_read_only"))).scalar_one() == "on"
        )


async def test_a_table_that_we_may_not_read_says_which_grant_to_ask_for(server_zoo: Zoo, reader_url: str) -> None:
    database = await server_zoo.open(reader_url)
    with pytest.raises(MisconfiguredError, match=r"we may not read it. To do: ask for GRANT SELECT ON home TO reader"):
        await records(database.sweep(ROOMS).pages(None))
    bad = [finding for finding in await database.check([READING, ROOMS]) if not finding.well]
    assert [finding.what for finding in bad] == ["answer: we may not read it", "home: we may not read it"]


async def test_a_wrong_login_or_database_is_for_a_person_to_mend(server_zoo: Zoo, reader_url: str) -> None:
    # The PostgreSQL of the tests trusts everybody whom it knows, and asks nobody for a password.
    stranger = "stranger:wrong@" if server_zoo.kind == "postgres" else "reader:wrong@"
    with pytest.raises(MisconfiguredError, match=r"refused our login. To do: check the user and") as caught:
        await server_zoo.open(reader_url.replace("reader:right@", stranger))
    assert "wrong" not in str(caught.value)
    with pytest.raises(MisconfiguredError, match=r"no such database|may not read it"):
        await server_zoo.open(re.sub(r"/t[0-9a-f]+", "/elsewhere", reader_url))


async def test_a_statement_that_takes_too_long_is_ended_by_the_server(server_zoo: Zoo, reader_url: str) -> None:
    database = await server_zoo.open(reader_url, statement_timeout=timedelta(milliseconds=100))
    with pytest.raises(UnavailableError, match=r"took too long to answer. To do: raise `statement_timeout`"):
        await run(database, NAPS[server_zoo.kind])


async def test_a_server_that_hangs_up_is_unavailable_and_can_be_opened_again(server_zoo: Zoo) -> None:
    database = await server_zoo.open(page_size=3)
    reading = aiter(database.sweep(READING).pages(None))
    await anext(reading)
    await server_zoo.hang_up()
    with pytest.raises(UnavailableError, match="cannot be reached, or hung up"):
        await anext(reading)
    await database.open()
    assert len(await records(database.sweep(READING).pages((3,)))) == 4


async def test_a_reading_that_is_cancelled_half_way_leaves_the_database_usable(server_zoo: Zoo) -> None:
    database = await server_zoo.open(statement_timeout=timedelta(seconds=1))
    for _ in range(6):  # more often than the pool has connections
        nap = asyncio.ensure_future(run(database, NAPS[server_zoo.kind]))
        await asyncio.sleep(0.05)
        nap.cancel()
        await asyncio.gather(nap, return_exceptions=True)
    assert len(await records(database.sweep(READING).pages(None))) == 7


class OdbcError(Exception):
    """As pyodbc raises it: an SQLSTATE, then the driver's sentence with the server's number in brackets."""


ODBC = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (
            OdbcError("28000", f"[28000] {ODBC}Login failed for user 'x'. (18456)"),
            MisconfiguredError,
            "refused our login",
        ),
        (OdbcError("42000", f"[42000] {ODBC}Cannot open database. (4060)"), MisconfiguredError, "no such database"),
        (OdbcError("42S02", f"[42S02] {ODBC}Invalid object name. (208)"), MisconfiguredError, "no such table"),
        (OdbcError("42S22", f"[42S22] {ODBC}Invalid column name. (207)"), MisconfiguredError, "no such column"),
        (
            OdbcError("42000", f"[42000] {ODBC}The SELECT permission was denied. (229)"),
            MisconfiguredError,
            "may not read",
        ),
        (OdbcError("IM002", "[IM002] Data source name not found"), MisconfiguredError, "driver is missing"),
        (OdbcError("40001", f"[40001] {ODBC}deadlocked on lock resources. (1205)"), UnavailableError, "too long"),
        (OdbcError("HYT00", f"[HYT00] {ODBC}Login timeout expired (0)"), UnavailableError, "too long"),
        (OdbcError("08S01", f"[08S01] {ODBC}Communication link failure (10054)"), UnavailableError, "hung up"),
        (OperationalError(1213, "Deadlock found when trying to get lock"), UnavailableError, "stood in our way"),
        (OperationalError(1040, "Too many connections"), UnavailableError, "cannot be reached"),
        (OdbcError("HY000", "the value 'Smith' was odd"), UnavailableError, "failed with DBAPIError"),
    ],
)
def test_drivers_errors_become_ours(error: Exception, kind: type[Exception], says: str) -> None:
    ours = translated(DBAPIError("SELECT 1", {}, error), "zoo", "dbo.child", "reader")
    assert type(ours) is kind
    assert says in ours.what
    assert "Smith" not in str(ours)


def test_a_password_never_shows() -> None:
    settings = SqlSettings(url=SecretStr("postgresql://me:hush-hush@db/zoo"))
    shown = [
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        repr(Database("zoo", settings).session.settings),
    ]
    assert not any("hush" in each for each in shown)


@pytest.mark.parametrize("url", ["", "not a url", "db2://me:hush@db/zoo", "postgresql//me:hush@db"])
def test_a_url_that_cannot_be_read_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SqlSettings(url=SecretStr(url))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("reading", [READING, ROOMS])
def test_statements_compile_for_all_four_kinds_of_database(reading: Reading) -> None:
    for dialect in (mssql.dialect(), postgresql.dialect(), mysql.dialect(), sqlite.dialect()):
        written = str(reading.page(10, after=True).compile(dialect=dialect))
        assert ("TOP" in written) == (dialect.name == "mssql")
        assert ("LIMIT" in written) == (dialect.name != "mssql")
        for part in reading.parts:
            assert "ORDER BY" in str(part.of_range().compile(dialect=dialect))
            assert " IN " in str(part.of_keys().compile(dialect=dialect))


async def test_a_check_runs_the_very_statements_of_a_reading(zoo: Zoo) -> None:
    database = await zoo.open()
    await records(database.sweep(READING).pages(None))
    swept = {re.sub(r"(LIMIT|IN) .*", "", each) for each in zoo.sent if "ORDER BY" in each}
    zoo.sent.clear()
    await database.check([READING])
    assert swept <= {re.sub(r"(LIMIT|IN) .*", "", each) for each in zoo.sent}
    await zoo.run("ALTER TABLE answer RENAME TO a", "CREATE VIEW answer AS SELECT id, name AS form, id AS said FROM pet")
    if zoo.kind == "postgres":  # a number is not compared with a text there
        [wrong] = [finding for finding in await (await zoo.open()).check([READING]) if not finding.well]
        assert wrong.what == "answer, child, pet: the database does not compare its keys: they are of two types or collations"


async def test_a_name_that_is_longer_than_the_database_takes_is_told(zoo: Zoo) -> None:
    long = table("child", column("id"), column("a" * 70))
    database = await zoo.open()
    asked = [Reading(KeysOf("x", "a"), long, (long.c.id,), tuple(long.c))]
    [wrong] = [finding for finding in await database.check(asked) if not finding.well]
    told = {"postgres": "its name has 70 bytes, and postgresql takes 63", "mariadb": "its name has 70 bytes, and mysql takes 64"}
    assert wrong.what == f"child.{'a' * 70}: {told.get(zoo.kind, 'there is no such column')}"


@pytest.mark.parametrize(
    ("url", "driver", "says"),
    [
        ("oracle://reader@host/?service_name=EBS", "oracledb", "To do: pip install 'ironbridge[oracle]'"),
        ("mariadb://reader@host/zoo", "aiomysql", "To do: pip install 'ironbridge[mariadb]'"),
        ("mssql://reader@host/zoo", "aioodbc", "To do: pip install 'ironbridge[sqlserver]' and Microsoft's ODBC driver"),
    ],
)
async def test_a_missing_driver_is_told_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, url: str, driver: str, says: str
) -> None:
    monkeypatch.setitem(sys.modules, driver, None)
    database = Database("zoo", SqlSettings(url=SecretStr(url)))
    with pytest.raises(MisconfiguredError, match="is missing") as caught:
        await database.open()
    assert str(caught.value).endswith(says)
    assert [finding.fix for finding in await database.check([READING])] == [says.removeprefix("To do: ")]
