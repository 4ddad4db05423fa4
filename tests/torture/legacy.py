"""
People at work in the legacy systems, and the record of every state that they committed.

A Liquidlogic-shaped warehouse on PostgreSQL and a drop folder, both begun by the shipped worlds. Each change makes a state that
the record never had before, so that an old state can be told from a new one.
"""

from __future__ import annotations

import asyncio
import csv
import io
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import create_async_engine
from stdnum.gb import upn

from adapters.liquidlogic import world as liquidlogic_world
from adapters.liquidlogic.world_children import UNLISTED
from adapters.payables import world as payables_world
from tests.torture.checker import Value
from tests.torture.witness import EPISODE, PERSON, WATCHED, Snapshot

GONE = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_S = "Child_Social"
_HEAD = (
    "Supplier No", "Supplier Name", "VAT Registration No", "Invoice No", "Line No", "Invoice Date", "Due Date", "Cost Centre",
    "Cost Centre Name", "Account", "Account Name", "Description", "Net Amount", "VAT Amount", "Gross Amount", "Original Invoice",
)  # fmt: skip
_OURS = 500_000
"""Numbers from here on are those of children that the torture made."""
_ANEW = 1_000_000
"""What is added to each number when the warehouse numbers its rows anew."""
_FAR = 1_000_000_000
_MADE_HERE = f"DIM_PERSON_ID % {_ANEW} >= {_OURS}"


JULY = "erp-invoices-2025-07.csv"


class Backup(NamedTuple):
    """July's invoices, and the extract that was made of them."""

    invoices: dict[int, int]
    extract: bytes


@dataclass
class Legacy:
    """Both systems. `history` is every committed state of every watched key; `slowly` counts as a change that commits late."""

    url: str
    drop: Path
    seed: int
    history: dict[str, list[Value]] = field(default_factory=lambda: defaultdict(list))
    now: Snapshot = field(default_factory=Snapshot)
    done: Counter[str] = field(default_factory=Counter)
    pace: float = 0.25
    """Seconds between two changes."""

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.working = asyncio.Event()
        self._lock = asyncio.Lock()  # of commits and of the record: what is recorded is what was committed
        self._at_work = asyncio.Lock()  # from the look whether people work until what they did is recorded
        self._count = 0
        self._files: dict[str, bytes] = {}
        self._invoices: dict[int, int] = {}
        self._unsure = False
        self._first_numbers: dict[str, dict[int, int]] = {}
        """By identifier, the numbers under which rows became known that have been numbered anew since."""
        self._late: set[asyncio.Task[None]] = set()

    @property
    def dsn(self) -> str:
        return self.url.replace("+asyncpg", "")

    # -- making them -------------------------------------------------------------------------------------------------

    async def make(self, children: int, invoices: int) -> None:
        await liquidlogic_world.create(self.url, children, self.seed)
        for path in await asyncio.to_thread(payables_world.write, self.drop, self.seed, 12, invoices):
            if path.name.startswith("erp"):
                self._files[path.name] = path.read_bytes()
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(f"ALTER TABLE {_S}.FACT_REFERRALS ADD COLUMN LAST_UPDATED_DTTM TIMESTAMP")
            await connection.execute(f"UPDATE {_S}.FACT_REFERRALS SET LAST_UPDATED_DTTM = localtimestamp")
            for _ in range(12):
                await self._new_child(connection)
            await self._record(connection)
        finally:
            await connection.close()
        self._invoices = dict.fromkeys(range(1, 25), 0)
        await self.leave_extract()

    async def _connected(self) -> asyncpg.Connection:
        # Who waits for a row holds the lock that the other one needs to commit: so nobody waits long.
        return await asyncpg.connect(self.dsn, timeout=5, server_settings={"lock_timeout": "300ms"})

    # -- the record --------------------------------------------------------------------------------------------------

    async def _record(self, connection: asyncpg.Connection) -> None:
        snapshot = Snapshot()
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            for watched in WATCHED:
                first = self._first_numbers.get(watched.ident, {})
                rows = [(first.get(n, n), self._child_of(c), *row) for n, c, *row in await connection.fetch(watched.select())]
                snapshot.rows(watched, rows)
                hostile = await connection.fetch(watched.select_hostile())
                snapshot.hostile(watched, [(first.get(number, number), self._child_of(child)) for number, child in hostile])
            people = await connection.fetch(
                f"SELECT DIM_PERSON_ID, BIRTH_DTTM FROM {_S}.DIM_PERSON WHERE coalesce(DOB_ESTIMATED, 'N') <> 'Y'"
            )
            referred = await connection.fetch(  # one that nobody can read puts nobody into the cohort
                f"SELECT DIM_PERSON_ID, REFRL_START_DTTM FROM {_S}.FACT_REFERRALS t WHERE NOT coalesce({EPISODE.hostile}, FALSE)"
            )
        snapshot.cohort([(self._child_of(n), at) for n, at in people], [(self._child_of(n), at) for n, at in referred])
        self._noted(snapshot)

    def _child_of(self, number: int) -> int:
        return self._first_numbers.get(PERSON.ident, {}).get(number, number)

    def first_key(self, key: str) -> str:
        """The key under which a record became known whose row has this key now."""
        for watched in WATCHED:
            for number, first in self._first_numbers.get(watched.ident, {}).items():
                if key == watched.key(number):
                    return watched.key(first)
        return key

    def _noted(self, snapshot: Snapshot) -> None:
        for content in self._files.values():
            snapshot.extract(content)
        for key, state in self.now.states.items():
            if key.startswith("payables:supplier:"):
                snapshot.states.setdefault(key, state)  # a payee whom nobody pays any more is still a payee
        for key in (self.history.keys() | snapshot.states.keys()) - snapshot.unsaid:
            states = self.history[key]
            if not states or states[-1] != snapshot.states.get(key):
                states.append(snapshot.states.get(key))
        self.now = snapshot

    @property
    def states(self) -> int:
        return sum(len(states) for states in self.history.values())

    # -- people at work ----------------------------------------------------------------------------------------------

    async def work(self, stop: asyncio.Event) -> None:
        """Change something every `pace` seconds while `working` is set; a database that is gone is waited for."""
        connection: asyncpg.Connection | None = None
        try:
            while not stop.is_set():
                if not self.working.is_set():
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.working.wait(), 0.2)
                    continue
                try:
                    async with self._at_work:
                        if not self.working.is_set():
                            continue
                        if connection is None or connection.is_closed():
                            connection = await self._connected()
                        if self._unsure:  # whether the last commit was done is for the database to say
                            async with self._lock:
                                await self._record(connection)
                            self._unsure = False
                        await self._something(connection)
                except GONE:
                    if connection is not None:
                        connection.terminate()  # what it was in the middle of is not known
                    connection, self._unsure = None, True
                    self.done["the database was away, or a row was locked"] += 1
                    await asyncio.sleep(0.2)
                await asyncio.sleep(self.pace * self.rng.uniform(0.5, 1.5))
        finally:
            if connection is not None:
                connection.terminate()

    async def rest(self) -> None:
        """Stop working; everything that was begun is committed and recorded when it returns."""
        self.working.clear()
        async with self._at_work:
            pass  # what somebody was in the middle of is done: nobody begins another change
        while True:
            if self._late:
                await asyncio.gather(*self._late)
            async with self._lock:
                try:
                    connection = await asyncpg.connect(self.dsn, timeout=5)
                    await self._record(connection)
                    await connection.close()
                    return
                except GONE:
                    await asyncio.sleep(0.3)

    async def _something(self, connection: asyncpg.Connection) -> None:
        if self.rng.random() < 0.15:
            async with self._lock:
                await self.leave_extract()
                await self._record(connection)
            return
        if self.rng.random() < 0.06 and len(self._late) < 2:
            task = asyncio.ensure_future(self._commit_late(self.rng.uniform(1, 4)))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            return
        async with self._lock:
            async with connection.transaction():
                for _ in range(self.rng.choice((1, 1, 2, 4))):
                    await self._one(connection)
            await self._record(connection)

    async def _one(self, connection: asyncpg.Connection) -> None:
        doing: list[tuple[int, Callable[[asyncpg.Connection], Awaitable[None]]]] = [
            (6, self._rename), (6, self._close_or_reopen), (2, self._new_child), (3, self._plan), (2, self._end_plan),
            (1, self._drop_plan), (1, self._drop_child), (1, self._hostile_row),
        ]  # fmt: skip
        (deed,) = self.rng.choices([d for _, d in doing], [w for w, _ in doing])
        await deed(connection)
        self.done[deed.__name__.strip("_").replace("_", " ")] += 1

    async def a_day(self) -> None:
        """What the shipped world calls a day's work."""
        engine = create_async_engine(self.url)
        try:
            async with self._lock:
                async with engine.begin() as connection:
                    await liquidlogic_world.change(connection, self._next())
                plain = await asyncpg.connect(self.dsn)
                await self._record(plain)
                await plain.close()
        finally:
            await engine.dispose()
        self.done["a day of the shipped world"] += 1

    async def _commit_late(self, seconds: float) -> None:
        """A transaction whose change column says when it began, and which commits much later."""
        self._unsure = True
        with suppress(*GONE):
            connection = await self._connected()
            try:
                change = connection.transaction()
                await change.start()
                await self._close_or_reopen(connection, stamp=datetime.now())
                await asyncio.sleep(seconds)
                async with self._lock:
                    await change.commit()
                    self.done["late commit"] += 1
                    await self._record(connection)
            finally:
                connection.terminate()

    def _next(self) -> int:
        self._count += 1
        return self._count

    async def _pick(self, connection: asyncpg.Connection, table: str, key: str, where: str = "TRUE") -> int | None:
        rows = await connection.fetch(
            f"SELECT {key} FROM {_S}.{table} WHERE {key} > 0 AND DIM_PERSON_ID > 0 AND {where} ORDER BY 1"
        )
        return int(self.rng.choice(rows)[0]) if rows else None

    async def _rename(self, connection: asyncpg.Connection) -> None:
        person = await self._pick(connection, "DIM_PERSON", "DIM_PERSON_ID", "IS_CLIENT = 'Y'")
        name = f"Renamed-{self._next()}"
        await connection.execute(f"UPDATE {_S}.DIM_PERSON SET SURNAME = $1 WHERE DIM_PERSON_ID = $2", name, person)

    async def _close_or_reopen(self, connection: asyncpg.Connection, stamp: datetime | None = None) -> None:
        """A referral's end; its change column is right, the same as another's, behind the time, or forgotten."""
        number = await self._pick(connection, "FACT_REFERRALS", "FACT_REFERRAL_ID")
        if number is None:
            return
        clocks = (datetime.now(), datetime.now().replace(microsecond=0), datetime.now() - timedelta(seconds=90), None)
        stamp = stamp or self.rng.choices(clocks, (6, 3, 1, 1))[0]
        end = None if self.rng.random() < 0.25 else datetime(2025, 1, 1) + timedelta(days=self._next())
        reason = None if end is None else self.rng.choice(("RC1", "RC7", "RC8"))
        await connection.execute(
            f"UPDATE {_S}.FACT_REFERRALS SET REFRL_END_DTTM = $1, DIM_LOOKUP_REFRL_ENDRSN_ID_CODE = $2, "
            "LAST_UPDATED_DTTM = coalesce($3, LAST_UPDATED_DTTM) WHERE FACT_REFERRAL_ID = $4",
            end, reason, stamp, number,
        )  # fmt: skip

    async def _hostile_row(self, connection: asyncpg.Connection) -> None:
        """A year that nobody meant, which the driver cannot read. The next one who works on the record mends it, perhaps."""
        if self.rng.random() < 0.5:
            number = await self._pick(connection, "FACT_REFERRALS", "FACT_REFERRAL_ID")
            what = "FACT_REFERRALS SET REFRL_END_DTTM = '20215-03-01' WHERE FACT_REFERRAL_ID"
        else:
            number = await self._pick(connection, "FACT_CP_PLAN", "FACT_CP_PLAN_ID")
            what = "FACT_CP_PLAN SET END_DTTM = '0021-03-01 BC' WHERE FACT_CP_PLAN_ID"
        await connection.execute(f"UPDATE {_S}.{what} = $1", number)

    async def _new_child(self, connection: asyncpg.Connection) -> None:
        last = await connection.fetchval(f"SELECT max(DIM_PERSON_ID) FROM {_S}.DIM_PERSON WHERE {_MADE_HERE}")
        # The number of a row that was numbered anew is not given again: whose record that would be is a matter of the instant.
        anew = max(self._first_numbers.get(PERSON.ident, ()), default=0)
        await self._child(connection, max(int(last or _OURS), anew) + 1)

    async def _child(self, connection: asyncpg.Connection, number: int) -> None:
        await connection.execute(
            f"INSERT INTO {_S}.DIM_PERSON (DIM_PERSON_ID, FORENAME, SURNAME, BIRTH_DTTM, DOB_ESTIMATED, GENDER_MAIN_CODE, "
            "ETHNICITY_MAIN_CODE, IS_CLIENT) VALUES ($1, 'Robin', $2, $3, 'N', 'F', 'WBR', 'Y')",
            number, f"Newly-{self._next()}", datetime.now().replace(microsecond=0) - timedelta(days=2000 + number % 2000),
        )  # fmt: skip
        await connection.execute(
            f"INSERT INTO {_S}.FACT_REFERRALS (FACT_REFERRAL_ID, DIM_PERSON_ID, REFRL_START_DTTM, DIM_LOOKUP_CONT_SORC_ID, "
            "OUTCOME_NFA_FLAG, DIM_LOOKUP_CATEGORY_OF_NEED_CODE, LAST_UPDATED_DTTM) "
            "VALUES ($1, $1, $2, '1A', 'N', 'N1', localtimestamp)",
            number, datetime.now() - timedelta(days=1 + self._next() % 200),
        )  # fmt: skip

    async def _plan(self, connection: asyncpg.Connection) -> None:
        referral = await self._pick(connection, "FACT_REFERRALS", "FACT_REFERRAL_ID")
        person = await connection.fetchval(f"SELECT DIM_PERSON_ID FROM {_S}.FACT_REFERRALS WHERE FACT_REFERRAL_ID = $1", referral)
        if person is not None:
            await connection.execute(
                f"INSERT INTO {_S}.FACT_CP_PLAN (FACT_CP_PLAN_ID, DIM_PERSON_ID, FACT_REFERRAL_ID, START_DTTM, "
                "INIT_CATEGORY_DESC, CP_CATEGORY_DESC) VALUES ($1, $2, $3, $4, 'Neglect', 'Neglect')",
                _OURS + self._next(), person, referral, datetime(2025, 6, 1) + timedelta(days=self._count % 300),
            )  # fmt: skip

    async def _end_plan(self, connection: asyncpg.Connection) -> None:
        plan = await self._pick(connection, "FACT_CP_PLAN", "FACT_CP_PLAN_ID")
        end = datetime(2026, 1, 1) + timedelta(days=self._next())
        await connection.execute(f"UPDATE {_S}.FACT_CP_PLAN SET END_DTTM = $1 WHERE FACT_CP_PLAN_ID = $2", end, plan)

    async def _drop_plan(self, connection: asyncpg.Connection) -> None:
        plan = await self._pick(connection, "FACT_CP_PLAN", "FACT_CP_PLAN_ID")
        await connection.execute(f"DELETE FROM {_S}.FACT_CP_PLAN WHERE FACT_CP_PLAN_ID = $1", plan)

    async def _drop_child(self, connection: asyncpg.Connection) -> None:
        """A child goes with all that it has; every other time another one comes under its number at once."""
        number = await self._pick(connection, "DIM_PERSON", "DIM_PERSON_ID", _MADE_HERE)
        if number is None:
            return
        for table in ("FACT_CP_PLAN", "FACT_REFERRALS", "DIM_PERSON"):
            await connection.execute(f"DELETE FROM {_S}.{table} WHERE DIM_PERSON_ID = $1", number)
        if self.rng.random() < 0.5:
            await self._child(connection, number)

    # -- what goes wrong in a legacy system --------------------------------------------------------------------------

    async def mend(self) -> None:
        """Mend every row that nobody can read, and every person who has a wrong UPN or an ethnicity that nothing lists."""
        connection = await self._connected()
        async with self.still():
            people = f"{_S}.DIM_PERSON"
            await connection.execute(
                f"UPDATE {people} SET ETHNICITY_MAIN_CODE = 'WBR' WHERE ETHNICITY_MAIN_CODE = $1", UNLISTED
            )
            numbered = await connection.fetch(f"SELECT DIM_PERSON_ID, UPN FROM {people} WHERE UPN ~ '[0-9]{{12}}'")
            for person, written in numbered:
                if not upn.is_valid(written.strip()):
                    await connection.execute(f"UPDATE {people} SET UPN = NULL WHERE DIM_PERSON_ID = $1", person)
            for watched in WATCHED:
                column, _, _ = watched.hostile.removeprefix("t.").partition(" ")
                if column != "FALSE":
                    await connection.execute(f"UPDATE {_S}.{watched.table} t SET {column} = NULL WHERE {watched.hostile}")
        await connection.close()

    async def number_anew(self) -> None:
        """Give every row another number, and say the same in it. Nobody works meanwhile, and every row can be read."""
        connection = await self._connected()
        async with self.still(), connection.transaction():
            for ident in dict.fromkeys(watched.ident for watched in WATCHED):
                await self._shift(connection, ident)
        await connection.close()
        self.done["all rows numbered anew"] += 1

    async def _shift(self, connection: asyncpg.Connection, ident: str) -> None:
        tables = await connection.fetch(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = lower($1) AND column_name = lower($2)",
            _S, ident,
        )  # fmt: skip
        first, numbers = self._first_numbers.get(ident, {}), set[int]()
        for (table,) in tables:
            numbers |= {n for (n,) in await connection.fetch(f"SELECT {ident} FROM {_S}.{table} WHERE {ident} > 0")}
            for step in (_FAR, _ANEW - _FAR):  # in two steps, because another row may have the new number now
                await connection.execute(f"UPDATE {_S}.{table} SET {ident} = {ident} + ({step}) WHERE {ident} > 0")
        self._first_numbers[ident] = {n + _ANEW: first.get(n, n) for n in numbers}

    async def lock_table(self, table: str, seconds: float) -> None:
        """Somebody holds a table for themselves; nobody else works meanwhile."""
        with suppress(*GONE):
            async with self._lock:
                connection = await self._connected()
                async with connection.transaction():
                    await connection.execute(f"LOCK TABLE {_S}.{table} IN ACCESS EXCLUSIVE MODE")
                    await asyncio.sleep(seconds)
                await connection.close()

    async def drop_column(self, table: str, column: str, seconds: float) -> None:
        """A column is gone for a while, and another one is there for good."""
        async with self._lock:
            connection = await self._connected()
            await connection.execute(f"ALTER TABLE {_S}.{table} RENAME COLUMN {column} TO {column}_OLD")
            await asyncio.sleep(seconds)
            await connection.execute(f"ALTER TABLE {_S}.{table} RENAME COLUMN {column}_OLD TO {column}")
            await connection.execute(f"ALTER TABLE {_S}.{table} ADD COLUMN IF NOT EXISTS MORE_{self._next()} VARCHAR(10)")
            await connection.close()

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nobody commits anything meanwhile; what is there afterwards is recorded, though nobody has committed it."""
        async with self._lock:
            yield
            connection = await asyncpg.connect(self.dsn, timeout=5)
            await self._record(connection)
            await connection.close()

    # -- the drop folder ---------------------------------------------------------------------------------------------

    async def leave_extract(self) -> None:
        """July's extract again: an invoice dearer, one new, one gone, now and then a supplier renamed."""
        known = sorted(self._invoices)
        if known:
            self._invoices[self.rng.choice(known)] = self._next()
            self._invoices[max(known) + 1] = self._next()
            if len(known) > 30:
                del self._invoices[self.rng.choice(known)]
        content = self._extract()
        self._put(JULY, content, slowly=self.rng.random() < 0.3)
        self.done["extract"] += 1

    def leave_short(self, documents: int) -> None:
        """July's extract once more, cut short where it was made: it holds so many documents. That says nothing of the others."""
        content = self._extract(sorted(self._invoices)[:documents])
        self._put(JULY, content, slowly=False, counts=False)
        self.done["short extract"] += 1

    def leave_last(self, last: Backup | None = None) -> None:
        """July's extract as it was left last; or as it was when a backup was made."""
        if last is not None:
            self._invoices = dict(last.invoices)
        self._put(JULY, self._files[JULY] if last is None else last.extract, slowly=False)

    def backup(self) -> Backup:
        """The part of the finance system that a backup holds."""
        return Backup(dict(self._invoices), self._files[JULY])

    def _extract(self, numbers: Sequence[int] | None = None) -> bytes:
        out = io.StringIO(newline="")
        rows = csv.writer(out)
        rows.writerow(_HEAD)
        for number, step in sorted(self._invoices.items()):
            if numbers is not None and number not in numbers:
                continue
            supplier = 90_000 + number % 7
            for line in (1, 2):
                net = f"{100 * line + step}.00"
                rows.writerow([
                    f"V{supplier}", f"Torture Supplies {supplier}", "", f"INV7{number:05d}", line, "01/07/2025",
                    f"{1 + step % 28:02d}/08/2025", "CC1100", "Children in Care", "2010", "Agency Staff", "Work", net, "0.00",
                    net, "",
                ])  # fmt: skip
        return out.getvalue().encode("utf-8-sig")

    def _put(self, name: str, content: bytes, *, slowly: bool, counts: bool = True) -> None:
        """Most systems leave a file in one step; some write into the one that lies there, in two. It `counts` as what is so."""
        path = self.drop / name
        if slowly and path.exists():
            with path.open("r+b") as file:
                file.truncate(len(content) // 2)
                file.write(content[: len(content) // 2])
                file.flush()
                time.sleep(0.05)
                file.write(content[len(content) // 2 :])
                file.truncate()
        else:
            part = path.with_name(f".{name}.part")
            part.write_bytes(content)
            os.replace(part, path)
        if counts:
            self._files[name] = content
