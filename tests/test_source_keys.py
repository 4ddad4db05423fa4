"""Keys as databases hold them: each either works, or its stream is refused with the column and what to do."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from adapters.kit.rows import row_of
from adapters.kit.sql import SqlStream
from canonical import Identifier, Person, Supplier
from canonical.errors import MisconfiguredError
from canonical.key import key_of
from tests.councils import Council, Server


@row_of("firms", key=("company", "code"))
class Firm(NamedTuple):
    company: str
    code: str
    name: str


def firm(source: str, row: Firm) -> Supplier:
    return Supplier(key=key_of(source, "supplier", row.company, row.code), number=row.code, name=row.name)


@row_of("badges", of="holder", order="badge")
class Badge(NamedTuple):
    badge: str


@row_of("people", key="ref")
class Someone(NamedTuple):
    ref: str
    badges: tuple[Badge, ...]


def someone(source: str, row: Someone) -> Person:
    badges = tuple(Identifier(system="badge", value=each.badge) for each in row.badges)
    return Person(key=key_of(source, "person", row.ref), identifiers=badges)


@row_of("people", key="ref")
class Plain(NamedTuple):
    ref: str


def plain(source: str, row: Plain) -> Person:
    return Person(key=key_of(source, "person", row.ref))


PEOPLE, ALONE = SqlStream("people", someone), SqlStream("people", plain)


async def people(server: Server, kind: str, values: list[str], stream: SqlStream, page: int = 2) -> Council:
    """A council whose people have keys of a kind."""
    await server.run(f"CREATE TABLE people (ref {kind})", f"INSERT INTO people VALUES ({'), ('.join(values)})")
    return Council(server.adapter(stream, page=page))


def refs(council: Council) -> set[str]:
    return {key.removeprefix("homes:person:") for key in council.published}


@pytest.mark.parametrize("page", [1, 3])
async def test_keys_of_two_texts_join_without_ambiguity_and_rows_without_a_key_stay_named(server: Server, page: int) -> None:
    await server.run(
        "CREATE TABLE firms (company VARCHAR(20), code CHAR(8), name VARCHAR(40))",
        "INSERT INTO firms VALUES ('A-1', '2', 'Ashgrove'), ('A', '1-2', 'Birchfield'), ('B', '1', 'Severn'), ('B', NULL, 'No')",
    )
    council = Council(server.adapter(SqlStream("firms", firm), page=page))
    for _ in range(3):
        await council.read()
        assert council.published == {"homes:supplier:A-1:2", "homes:supplier:A:1-2", "homes:supplier:B:1"}
        [said] = council.problems.values()
        assert "company, code: is empty" in said
    await server.run("UPDATE firms SET code = '9' WHERE code IS NULL")
    await council.read()
    assert "homes:supplier:B:9" in council.published
    assert not council.problems
    await council.pump.close()


WORKING: dict[str, dict[str, tuple[str, list[str], set[str]]]] = {
    "bigint": {
        "all": ("BIGINT", ["9007199254740993", "9007199254740992", "-1", "9223372036854775807"],
                {"9007199254740993", "9007199254740992", "-1", "9223372036854775807"}),
    },
    "fraction": {
        "postgres": ("NUMERIC(30,2)", ["1.50", "2", "9007199254740993.25", "9007199254740993.26", "-3"],
                     {"1.50", "2", "9007199254740993.25", "9007199254740993.26", "-3"}),
        "mariadb": ("DECIMAL(30,2)", ["1.50", "2", "9007199254740993.25", "9007199254740993.26", "-3"],
                    {"1.50", "2", "9007199254740993.25", "9007199254740993.26", "-3"}),
    },
    "uuid": {
        "postgres": ("UUID", ["'6f0cf3f8-5d0f-4b8e-a4e8-4a4b64a3a2aa'", "'00000000-0000-0000-0000-000000000001'"],
                     {"6f0cf3f8-5d0f-4b8e-a4e8-4a4b64a3a2aa", "00000000-0000-0000-0000-000000000001"}),
        "mariadb": ("UUID", ["'6f0cf3f8-5d0f-4b8e-a4e8-4a4b64a3a2aa'", "'00000000-0000-0000-0000-000000000001'"],
                    {"6f0cf3f8-5d0f-4b8e-a4e8-4a4b64a3a2aa", "00000000-0000-0000-0000-000000000001"}),
    },
    "case": {
        "all": ("VARCHAR(20)", ["'a'", "'A'", "'b'", "'B'", "'á'", "'c'"], {"a", "A", "b", "B", "%C3%A1", "c"}),
    },
    "padding": {
        "all": ("CHAR(8)", ["'a1'", "'A1'", "'b'", "'b c'"], {"a1", "A1", "b", "b c"}),
    },
}  # fmt: skip
"""A column's type, the values in it, and the identifiers that they become."""


@pytest.mark.parametrize("page", [1, 3])
@pytest.mark.parametrize("what", WORKING)
async def test_a_key_of_an_unusual_type_works_also_behind_a_stop(server: Server, what: str, page: int) -> None:
    kinds = WORKING[what]
    if (given := kinds.get(server.kind, kinds.get("all"))) is None:
        return  # this database has no such type
    kind, values, right = given
    council = await people(server, kind, values, ALONE, page)
    await council.read()
    assert refs(council) == right
    assert not council.problems
    [stream] = council.adapter.streams()
    pages = [page async for page in stream.reading.pages(None)]  # type: ignore[union-attr]
    for at, page_read in enumerate(pages):
        rest = [r.key async for more in stream.reading.pages(page_read.cursor) for r in more.records]  # type: ignore[union-attr]
        assert rest == [r.key for later in pages[at + 1 :] for r in later.records]
    await council.pump.close()


HOLDERS = {
    "sqlite": ("TEXT COLLATE NOCASE", "TEXT COLLATE NOCASE", "'A1'", "'a1'"),
    "postgres": ("CHAR(8)", "VARCHAR(20)", "'A1'", "'A1'"),
    "mariadb": ("CHAR(8)", "VARCHAR(20)", "'A1'", "'a1  '"),
}


async def test_the_database_says_which_parts_belong_to_a_key(server: Server) -> None:
    key, owner, held, written = HOLDERS[server.kind]
    await server.run(
        f"CREATE TABLE people (ref {key} PRIMARY KEY)", f"INSERT INTO people VALUES ({held}), ('b'), ('0')",
        f"CREATE TABLE badges (badge INT, holder {owner})", f"INSERT INTO badges VALUES (7, {written}), (8, {held}), (9, 'x')",
    )  # fmt: skip
    council = Council(server.adapter(PEOPLE, page=2))
    await council.read()
    assert not council.problems
    found = Person.model_validate_json(council.log.state()["homes:person:A1"])
    assert [each.value for each in found.identifiers] == ["7", "8"]
    await council.pump.close()


async def test_too_many_rows_with_one_key_are_refused_and_not_left_out(server: Server) -> None:
    council = await people(server, "VARCHAR(20)", ["'a'"] * 1001, ALONE)
    with pytest.raises(MisconfiguredError, match=r"people\.ref: more than 1000 rows have one key for the database"):
        await council.read()
    await council.pump.close()


REFUSED: dict[str, list[tuple[str, str, str]]] = {
    "sqlite": [("BLOB", "x'01'", "bytes"), ("REAL", "1.5", "numbers that are not exact")],
    "postgres": [
        ("BYTEA", "'\\x01'", "bytes"), ("DOUBLE PRECISION", "1.5", "numbers that are not exact"),
        ("DATE", "'2024-01-01'", "dates"), ("TIMESTAMP", "'2024-01-01'", "times"),
    ],
    "mariadb": [
        ("VARBINARY(9)", "x'01'", "bytes"), ("FLOAT", "0.1", "numbers that are not exact"), ("DATE", "'2024-01-01'", "dates"),
        ("DATETIME", "'2024-01-01'", "times"),
    ],
}  # fmt: skip


async def test_a_key_that_cannot_be_one_is_refused_by_the_check_and_at_the_start(server: Server) -> None:
    for number, (kind, value, holds) in enumerate(REFUSED[server.kind]):
        if number:
            await server.run("DROP TABLE people")
        council = await people(server, kind, [value], SqlStream("people", untold))
        said = f"people.ref: holds {holds}, which are no key"
        await council.adapter.open()
        faults = [finding for finding in await council.adapter.check() if not finding.well]
        assert [fault.what for fault in faults] == [said]
        assert "read a view in which it is text or a whole number" in faults[0].fix
        with pytest.raises(MisconfiguredError, match="which are no key"):
            await council.read()
        assert not council.published
        await council.pump.close()


@row_of("people", key="ref")
class Untold(NamedTuple):
    ref: Any


def untold(source: str, row: Untold) -> Person:
    return Person(key=key_of(source, "person", str(row.ref)))


async def test_parts_whose_owner_has_another_type_than_the_key_are_refused(server: Server) -> None:
    await server.run(
        "CREATE TABLE people (ref VARCHAR(20) PRIMARY KEY)", "INSERT INTO people VALUES ('1')",
        "CREATE TABLE badges (badge INT, holder INT)", "INSERT INTO badges VALUES (7, 1)",
    )  # fmt: skip
    council = Council(server.adapter(PEOPLE))
    await council.adapter.open()
    faults = [finding.what for finding in await council.adapter.check() if not finding.well]
    assert any("badges.holder: holds numbers" in fault for fault in faults), faults
    with pytest.raises(MisconfiguredError):
        await council.read()
    await council.pump.close()


async def test_two_collations_that_the_database_does_not_compare_are_refused(server: Server) -> None:
    if server.kind != "mariadb":
        return
    await server.run(
        "CREATE TABLE people (ref VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY)", "INSERT INTO people VALUES ('1')",
        "CREATE TABLE badges (badge INT, holder VARCHAR(20) COLLATE utf8mb4_bin)", "INSERT INTO badges VALUES (7, '1')",
        "CREATE TABLE more (badge INT, holder VARCHAR(20) COLLATE utf8mb4_unicode_ci)",
        "RENAME TABLE badges TO others, more TO badges", "INSERT INTO badges VALUES (7, '1')",
    )  # fmt: skip
    council = Council(server.adapter(PEOPLE))
    await council.adapter.open()
    [fault] = [finding for finding in await council.adapter.check() if not finding.well]
    assert "does not compare its keys" in fault.what
    assert "one collation" in fault.fix
    await council.pump.close()
