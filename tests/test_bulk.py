"""Rows that go to PostgreSQL a column at a time arrive as they were, whatever they hold."""

import pytest
from sqlalchemy import text

from ironbridge.store import Store
from ironbridge.store.bulk import bind, selected

KINDS = (("name", "text"), ("number", "bigint"), ("digest", "bytea"))
PLAIN = [("a", 1, b"\x00\xff"), ("b", -2, b"")]


@pytest.mark.servers
@pytest.mark.parametrize(
    ("rows", "forms"),
    [
        (PLAIN, ("text", "text", "text")),
        ([("", 1, b"x"), ("", 2, b"x")], ("same", "text", "same")),
        ([("only", 1, b"x")], ("array", "same", "same")),
        ([("", 1, b"x")], ("array", "same", "same")),
        ([("a", None, None), (None, 2, b"x")], ("array", "array", "array")),
        ([("two\x1fin one", 1, b"x"), ("b", 2, b"y")], ("array", "text", "text")),
        ([("a, {b} \"c\" \\ 'd'\n£", 2**63 - 1, b"x" * 65), ("", -(2**63), b"y" * 65)], ("text", "text", "array")),
    ],
)
async def test_every_row_arrives_as_it_was(postgres_store: Store, rows: list[tuple[object, ...]], forms: tuple[str, ...]) -> None:
    found, bound = bind(rows, KINDS)
    assert found == forms
    async with postgres_store.read() as connection:
        answer = await connection.execute(text(selected(KINDS, found)), bound)
        assert [tuple(row) for row in answer] == rows
