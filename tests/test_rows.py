"""Rows that are declared once: typed when they are mapped, read, checked and stood in for as they are declared."""

from __future__ import annotations

import csv
import pickle
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from datetime import date, datetime
from decimal import Decimal
from io import StringIO
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import String, insert, text
from sqlalchemy.dialects import mssql
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.kit.rows import of_header
from adapters.kit.sql import (
    Between,
    Choice,
    Joined,
    Spelt,
    SqlAdapter,
    SqlSettings,
    SqlStream,
    Tables,
    columns_read,
    row_of,
)
from adapters.kit.typed import Mapped, typed
from adapters.port import Record, Row, Sweep, Tail
from canonical import Address, Name, Person
from canonical.errors import BadRecordError, MisconfiguredError
from canonical.key import KeysOf, key_of

SERVERS = [pytest.param(kind, marks=pytest.mark.servers) for kind in ("postgres", "mariadb")]


@row_of("TOWN", key="town_id")
class Town(NamedTuple):
    town_id: int
    name: str | None


@row_of("HOME", key="home_id", of="keeper", also={"town_id": int})
class Home(NamedTuple):
    street: str | None
    town: Joined[str | None]


@row_of("PET", key=("house", "pet_no"), of="house", to="house")
class Pet(NamedTuple):
    called: str | None


@row_of("KEEPER", key="keeper_id", also={"house": int, "left_on": date})
class Keeper(NamedTuple):
    keeper_id: int
    surname: Annotated[str | None, String(40)]
    born: date | None
    seen: datetime | None
    weight: float | None
    tame: Any
    first: Annotated[str | None, Spelt("First Name")]
    homes: tuple[Home, ...]
    pets: tuple[Pet, ...] = ()


@row_of("ROOM", key=("house", "room"))
class Room(NamedTuple):
    house: int
    room: Annotated[str, String(9)]
    area: Decimal | None


def keeper(source: str, k: Keeper) -> Person:
    return Person(
        key=key_of(source, "person", k.keeper_id),
        names=(Name(given=k.first, family=k.surname),),
        birth_date=k.born,
        addresses=tuple(Address(lines=(home.street or "",), town=home.town) for home in k.homes),
    )


def room(source: str, r: Room) -> Person:
    return Person(key=key_of(source, "person", r.house, r.room))


def keepers(tables: Tables, _: object) -> Choice:
    them, homes, towns = tables[Keeper], tables[Home], tables[Town]
    in_towns = homes.outerjoin(towns, towns.c.TOWN_ID == homes.c.TOWN_ID)
    return Choice(them.c.LEFT_ON.is_(None), parts={"homes": Choice(source=in_towns, joined={"town": towns.c.NAME})})


STREAMS = [SqlStream("keepers", keeper, keepers), SqlStream("rooms", room)]
BORN, SEEN = date(1711, 3, 17), datetime(2026, 3, 1, 9, 30)  # noqa: DTZ001 (a source's times have no zone)
KEEPER = {"KEEPER_ID": 7, "SURNAME": "Darby", "BORN": BORN, "SEEN": SEEN, "WEIGHT": 70.5, "TAME": "Y", "First Name": "A"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "KEEPER": [{**KEEPER, "HOUSE": 3}, {"KEEPER_ID": 8, "HOUSE": -1}, {"KEEPER_ID": 9, "LEFT_ON": BORN}],
    "TOWN": [{"TOWN_ID": 1, "NAME": "Ironbridge"}],
    "HOME": [
        {"HOME_ID": 2, "KEEPER": 7, "TOWN_ID": 1, "STREET": "2 Wharf"},
        {"HOME_ID": 1, "KEEPER": 7, "STREET": "1 Tontine"},
    ],
    "PET": [{"HOUSE": 3, "PET_NO": 2, "CALLED": "Tom"}, {"HOUSE": 3, "PET_NO": 1, "CALLED": "Rex"}],
    "ROOM": [{"HOUSE": 1, "ROOM": "b", "AREA": 12}, {"HOUSE": 1, "ROOM": "a"}],
}
TYPED = Keeper(
    7, "Darby", BORN, SEEN, 70.5, "Y", "A", (Home("1 Tontine", None), Home("2 Wharf", "Ironbridge")), (Pet("Rex"), Pet("Tom"))
)


class Zoo:
    """A database that was made of the declarations alone."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def make(self) -> None:
        tables = Tables()
        for stream in STREAMS:
            stream.reading("zoo", tables, None)
        stand_in = tables.stand_in()
        engine = create_async_engine(self.url)
        async with engine.begin() as connection:
            await connection.run_sync(stand_in.create_all)
            for table in stand_in.sorted_tables:
                for row in ROWS[str(table.name)]:
                    await connection.execute(insert(table).values(row))
        await engine.dispose()

    async def run(self, *statements: str) -> None:
        engine = create_async_engine(self.url)
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    def adapter(self, **given: Any) -> SqlAdapter:
        return SqlAdapter("zoo", SqlSettings(url=SecretStr(self.url), **given), STREAMS, filled=[Town])


@pytest.fixture(params=["sqlite", *SERVERS])
async def zoo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Zoo]:
    async with AsyncExitStack() as stack:
        url = f"sqlite+aiosqlite:///{tmp_path / 'zoo.db'}"
        if request.param != "sqlite":
            url = await stack.enter_async_context(request.getfixturevalue(request.param).database())
        zoo = Zoo(url)
        await zoo.make()
        yield zoo


async def read(adapter: SqlAdapter, name: str = "keepers") -> list[Record]:
    """All records of a stream of the adapter, as a new connection reads them."""
    stream = next(each for each in adapter.streams() if each.name == name)
    assert isinstance(stream.reading, Sweep)
    await adapter.open()
    try:
        return [record async for page in stream.reading.pages(None) for record in page.records]
    finally:
        await adapter.close()


# -- the typed row ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "read", "becomes"),
    [
        (int, Decimal(7), 7),
        (int, "7", 7),
        (int, True, 1),
        (str, 7, "7"),
        (str, Decimal("7.10"), "7.10"),
        (str, "  Darby ", "Darby"),
        (str, " ", None),
        (date, datetime(1711, 3, 17, 9), BORN),  # noqa: DTZ001
        (date, "1711-03-17", BORN),
        (date, "1711-03-17 00:00:00.000000", BORN),
        (datetime, "2026-03-01 09:30:00", SEEN),
        (datetime, date(2026, 3, 1), datetime(2026, 3, 1)),  # noqa: DTZ001
        (float, Decimal("70.5"), 70.5),
        (Decimal, 70.5, Decimal("70.5")),
        (Decimal, "70.5", Decimal("70.5")),
        (bool, 1, True),
        (bool, b"\0", False),
        (bool, "y", True),
        (bool, "No ", False),
        (bool, "T", True),
        (bool, "0", False),
        (bool, Decimal(1), True),
        (bool, "  ", None),
        (date, " ", None),
        (int, None, None),
        (Any, b"\0", b"\0"),
    ],
)
def test_a_value_becomes_what_its_field_is_declared_as(kind: Any, read: object, becomes: object) -> None:
    row = NamedTuple("row", [("at", kind | None)])  # noqa: UP014 (its type is the test's)
    for _ in range(2):
        [found] = typed(row)((read,))
        assert (found, type(found)) == (becomes, type(becomes))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("born", "17/03/1711", "KEEPER: BORN: is not a date (its shape: text 99/99/9999)"),
        ("born", 17110317, "KEEPER: BORN: is not a date (its shape: int 99999999)"),
        ("seen", "noon", "KEEPER: SEEN: is not a time (its shape: text aaaa)"),
        ("weight", "much", "KEEPER: WEIGHT: is not a number (its shape: text aaaa)"),
        ("surname", b"Darby", "KEEPER: SURNAME: is not text (its shape: bytes a'aaaaa')"),
        ("keeper_id", Decimal("7.5"), "KEEPER: KEEPER_ID: is not a whole number (its shape: Decimal 9.9)"),
        ("keeper_id", None, "KEEPER: KEEPER_ID: is empty (its shape: nothing)"),
    ],
)
def test_a_value_of_another_type_quarantines_its_row_and_is_not_told(field: str, value: object, says: str) -> None:
    row = TYPED._replace(homes=(), pets=(), **{field: value})
    with pytest.raises(BadRecordError) as caught:
        typed(Keeper)(tuple(row))
    assert str(caught.value) == (
        f"{says}. To do: correct it in the source; if it is right, declare `{field}` of Keeper as it is"
    )


class Cleaned(NamedTuple):
    called: str
    tame: bool
    seen: Annotated[date | None, Between(date(1900, 1, 2), date(2999, 12, 30))]


def test_a_text_in_the_key_stays_as_it_stands_in_the_records_own_key() -> None:
    assert typed(Room)((1, " a", None)).room == " a"
    assert typed(Cleaned)((" a", 1, None)).called == "a"


@pytest.mark.parametrize("seen", [date(215, 5, 1), date(1900, 1, 1), datetime(2999, 12, 31, 9), datetime(9999, 1, 1)])  # noqa: DTZ001
def test_a_day_outside_those_of_its_column_stands_for_none(seen: date) -> None:
    for _ in range(2):
        assert typed(Cleaned)(("a", True, seen)).seen is None
    assert typed(Cleaned)(("a", True, SEEN)) == Cleaned("a", True, SEEN.date())


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (("  ", True, None), "Cleaned: called: is empty (its shape: text   )"),
        (("a", " ", None), "Cleaned: tame: is none of Y, N, T, F, 1, 0 (its shape: text  )"),
        (("a", 2, None), "Cleaned: tame: is none of Y, N, T, F, 1, 0 (its shape: int 9)"),
        (("a", None, None), "Cleaned: tame: is empty (its shape: nothing)"),
    ],
)
def test_what_cannot_be_cleaned_quarantines_its_row(row: Row, says: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        typed(Cleaned)(row)
    assert str(caught.value).partition(". To do")[0] == says


def test_a_mapping_is_a_function_of_its_row_that_another_process_can_run() -> None:
    mapped = Mapped(keeper, Keeper, "zoo")
    row: Row = (7, "Darby", "1711-03-17", None, None, None, "A", (("2 Wharf", "Ironbridge"),))
    assert pickle.loads(pickle.dumps(mapped)) == mapped
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as elsewhere:
        assert elsewhere.submit(mapped, row).result(timeout=60) == mapped(row)
    assert mapped(row).addresses == (Address(lines=("2 Wharf",), town="Ironbridge"),)


def test_a_row_class_serves_the_columns_of_a_file_too() -> None:
    header, *lines = csv.reader(StringIO("note,AREA,house, Room \n,12.5,1,a\nx,,2,b\n"))
    pick = of_header(Room, header)
    assert [typed(Room)(pick(line)) for line in lines] == [Room(1, "a", Decimal("12.5")), Room(2, "b", None)]
    assert of_header(Town, ["name", "town id", "name"])(["Ironbridge", "1", "another"]) == ("1", "Ironbridge")
    with pytest.raises(BadRecordError, match="Room: ROOM, AREA: the file has no such column") as caught:
        of_header(Room, ["house", "rooms"])
    assert "ask for the file with these columns" in str(caught.value)


# -- what is wrong with a declaration --------------------------------------------------------------------------------


class Bare(NamedTuple):
    town_id: int


@row_of("TOWN", key="name")
class Misplaced(NamedTuple):
    town_id: int
    name: str


@row_of("TOWN", key="town_id")
class OtherTown(NamedTuple):
    town_id: int
    name: date | None


@row_of("TOWN", key="town_id")
class OddTown(NamedTuple):
    town_id: int
    name: list[str]


@row_of("TOWN", key="town_id", order="age")
class AgelessTown(NamedTuple):
    town_id: int


@row_of("TOWN", key="town_id")
class AbsentTown(NamedTuple):
    town_id: Absent  # type: ignore[name-defined]  # noqa: F821


def absent(source: str, row: Absent) -> Person: ...  # type: ignore[name-defined]  # noqa: F821


@row_of("HOME")
class Lost(NamedTuple):
    street: str | None


@row_of("KEEPER", key="keeper_id")
class Careless(NamedTuple):
    keeper_id: int
    homes: tuple[Lost, ...]


@pytest.mark.parametrize(
    ("row", "choice", "says"),
    [
        (Bare, Choice(), "Bare: no table is declared for this row"),
        (Misplaced, Choice(), "Misplaced: a stream's row begins with its key and ends with its parts"),
        (OtherTown, Choice(), "TOWN.NAME: is declared with two types. To do: give it one type: date in OtherTown, str elsewhere"),
        (OddTown, Choice(), "OddTown.name: has a type that no column has"),
        (AbsentTown, Choice(), "AbsentTown: its types cannot be told: name 'Absent' is not defined"),
        (AgelessTown, Choice(), "AgelessTown (TOWN): `age` is no column of it"),
        (Careless, Choice(), "Lost: does not say to which Careless it belongs"),
        (Town, Choice(joined={"nme": Tables()[Town].c.NAME}), "Town (TOWN): what is joined does not fit: nme"),
        (Keeper, Choice(), "Home (HOME): what is joined does not fit: town"),
        (Keeper, Choice(parts={"homes": None}), "Keeper.homes: cannot be left out"),
        (Keeper, Choice(parts={"cats": Choice()}), "Keeper: has no part cats. To do: its parts are: homes, pets"),
    ],
)  # fmt: skip
def test_a_declaration_that_does_not_hold_is_refused_with_its_place(row: type, choice: Choice, says: str) -> None:
    tables = Tables()
    assert tables[Town].c.NAME is tables[Town].c.NAME
    with pytest.raises(MisconfiguredError) as caught:
        tables.reading(row, KeysOf("zoo", "person"), choice)
    assert str(caught.value).startswith(says)
    assert "To do: " in str(caught.value)


def test_a_mapping_that_cannot_be_imported_or_says_no_types_is_refused() -> None:
    def inner(source: str, row: Town) -> Person:
        return Person(key=key_of(source, "person", row.town_id))

    with pytest.raises(MisconfiguredError, match="absent: its types cannot be told: name 'Absent' is not defined"):
        SqlAdapter("zoo", SqlSettings(url=SecretStr("sqlite:///zoo.db")), [SqlStream("towns", absent)])
    for mapping in (inner, lambda source, row: inner(source, row), pickle.dumps):
        with pytest.raises(MisconfiguredError, match="the stream towns: has a mapping that cannot be used"):
            SqlAdapter("zoo", SqlSettings(url=SecretStr("sqlite:///zoo.db")), [SqlStream("towns", mapping)])


def test_a_tail_of_a_stream_that_there_is_not_is_refused() -> None:
    settings = SqlSettings(url=SecretStr("sqlite:///zoo.db"), tail={"keeper": "SEEN"})
    with pytest.raises(MisconfiguredError, match=r"`tail` names no stream: keeper. To do: its streams are keepers, rooms"):
        SqlAdapter("zoo", settings, STREAMS)


# -- what follows from a declaration ---------------------------------------------------------------------------------


async def test_rows_are_read_from_the_stand_in_as_they_are_declared(zoo: Zoo) -> None:
    adapter = zoo.adapter()
    found = await read(adapter)
    assert [(record.key, record.position) for record in found] == [("zoo:person:7", (7,)), ("zoo:person:8", (8,))]
    assert typed(Keeper)(found[0].row) == TYPED
    assert typed(Keeper)(found[1].row) == Keeper(8, None, None, None, None, None, None, (), ())
    assert {type(record.row) for record in found} == {tuple}
    assert [stream.map(found[0].row).key for stream in adapter.streams()[:1]] == ["zoo:person:7"]
    rooms = await read(adapter, "rooms")
    assert [(record.key, typed(Room)(record.row).area) for record in rooms] == [
        ("zoo:person:1:a", None), ("zoo:person:1:b", Decimal(12)),
    ]  # fmt: skip


async def test_a_check_of_what_is_declared_finds_all_well(zoo: Zoo) -> None:
    adapter = zoo.adapter()
    findings = await adapter.check()
    await adapter.close()
    assert [(finding.what, finding.well) for finding in findings] == [
        ("zoo: answers", True),
        ("HOME: 4 columns can be read", True),
        ("KEEPER: 9 columns can be read", True),
        ("PET: 3 columns can be read", True),
        ("ROOM: 3 columns can be read", True),
        ("TOWN: 2 columns can be read", True),
        ("TOWN: has rows", True),
    ]


SPOILT = [
    pytest.param(
        ["ALTER TABLE PET DROP COLUMN CALLED"],
        "PET.CALLED: there is no such column",
        "ask the system's supplier in which version PET has it",
        id="a column is missing",
    ),
    pytest.param(
        ["DROP TABLE HOME"],
        "HOME: there is no such table",
        "check `schema`, and the database's name in `url`",
        id="a table is missing",
    ),
    pytest.param(
        ["ALTER TABLE KEEPER DROP COLUMN BORN", "ALTER TABLE KEEPER ADD COLUMN BORN INTEGER"],
        "KEEPER.BORN: holds numbers instead of dates",
        "see that KEEPER is the right table; if it is, let the adapter's author declare born as it is there",
        id="numbers for dates",
    ),
    pytest.param(
        ["ALTER TABLE KEEPER DROP COLUMN WEIGHT", "ALTER TABLE KEEPER ADD COLUMN WEIGHT DATE"],
        "KEEPER.WEIGHT: holds dates instead of numbers",
        "see that KEEPER is the right table; if it is, let the adapter's author declare weight as it is there",
        id="dates for numbers",
    ),
    pytest.param(
        ["ALTER TABLE KEEPER DROP COLUMN SURNAME", "ALTER TABLE KEEPER ADD COLUMN SURNAME DATE"],
        "KEEPER.SURNAME: holds dates instead of text",
        "see that KEEPER is the right table; if it is, let the adapter's author declare surname as it is there",
        id="dates for text",
    ),
]


@pytest.mark.parametrize(("statements", "what", "fix"), SPOILT)
async def test_what_does_not_fit_is_named_by_the_check_and_stops_its_stream_at_the_start(
    zoo: Zoo, statements: list[str], what: str, fix: str
) -> None:
    await zoo.run(*statements)
    adapter = zoo.adapter()
    wrong = [finding for finding in await adapter.check() if not finding.well]
    await adapter.close()
    assert [(finding.what, finding.fix) for finding in wrong] == [(what, fix)]
    with pytest.raises(MisconfiguredError) as caught:
        await read(adapter)
    assert str(caught.value) == f"zoo: {what}. To do: {fix}"
    assert len(await read(adapter, "rooms")) == 2  # another stream goes on


async def test_a_column_that_goes_while_the_database_is_open_is_named_too(zoo: Zoo) -> None:
    adapter = zoo.adapter()
    reading = adapter.streams()[0].reading
    assert isinstance(reading, Sweep)
    await adapter.open()
    assert [len(page.records) async for page in reading.pages(None)] == [2]
    await zoo.run("ALTER TABLE KEEPER DROP COLUMN TAME")
    with pytest.raises(MisconfiguredError, match="HOME, KEEPER, PET, TOWN: there is no such column"):
        await anext(aiter(reading.pages(None)))
    with pytest.raises(MisconfiguredError, match=r"zoo: KEEPER\.TAME: there is no such column"):
        await anext(aiter(reading.pages(None)))
    await adapter.close()


async def test_a_column_of_one_council_shows_changes_and_stands_in_no_row(zoo: Zoo) -> None:
    await zoo.run("ALTER TABLE ROOM ADD COLUMN SERIAL INTEGER", "UPDATE ROOM SET SERIAL = 4")
    adapter = zoo.adapter(tail={"rooms": "SERIAL"})
    reading = adapter.streams()[1].reading
    assert isinstance(reading, Tail)
    await adapter.open()
    [page] = [page async for page in reading.pages(None)]
    await adapter.close()
    assert (page.cursor, [typed(Room)(record.row).room for record in page.records]) == ((4, 1, "b"), ["a", "b"])
    adapter = zoo.adapter(tail={"rooms": "SEREAL"})
    wrong = [finding.what for finding in await adapter.check() if not finding.well]
    await adapter.close()
    assert wrong == ["ROOM.SEREAL: there is no such column"]


def test_the_row_class_that_the_guide_shows_holds() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "add-an-adapter.md").read_text("utf-8")
    shown: dict[str, Any] = {**globals()}
    exec(compile(guide.partition("```python\n")[2].partition("```")[0], "the guide", "exec", dont_inherit=True), shown)
    reading = Tables().reading(shown["Tenant"], KeysOf("housing", "person"))
    assert {str(table): sorted(names) for table, names in columns_read([reading]).items()} == {
        "TENANTS": ["BORN", "LETTING", "MOVED_OUT", "SURNAME", "TENANT_NO", "Type of tenancy"],
        "RENT_CARDS": ["CARD_NO", "RENT", "TENANT_NO"],
    }


def test_names_are_written_as_they_are_declared() -> None:
    tables = Tables("HDM.Child_Social")
    reading = tables.reading(Keeper, KeysOf("zoo", "person"), keepers(tables, None))
    written = str(reading.page(5, after=False).compile(dialect=mssql.dialect()))
    assert "[HDM].[Child_Social].KEEPER.KEEPER_ID" in written
    assert "KEEPER.[First Name]" in written


def test_a_part_with_a_default_may_be_left_out() -> None:
    tables = Tables()
    choice = keepers(tables, None)
    reading = tables.reading(Keeper, KeysOf("zoo", "person"), Choice(parts={**choice.parts, "pets": None}))
    assert len(reading.parts) == 1
    assert typed(Keeper)((8, None, None, None, None, None, None, ())) == Keeper(8, *[None] * 6, ())
