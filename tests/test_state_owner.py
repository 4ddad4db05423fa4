"""The rule that SQL for the state stands in the store alone: it holds, and it sees what it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from security import state_owner


def test_sql_for_the_state_stands_in_the_store_alone() -> None:
    assert state_owner.found() == []


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ('ASK = "SELECT 1 FROM subjects"', "SQL on the state's table `subjects`"),
        ('ASK = f"UPDATE streams SET paused = {1}"', "SQL on the state's table `streams`"),
        ('ASK = "SELECT 1 "  \\\n"FROM facts f JOIN offsets o"', "SQL on the state's table `facts`"),
        ('ASK = \'DELETE FROM "keys"\'', "SQL on the state's table `keys`"),
        ("from sqlalchemy import Select, text", "`sqlalchemy.text`"),
        ("from ironbridge.store.bulk import among", "`ironbridge.store.bulk`"),
        ("from ironbridge.store import tables", "`ironbridge.store.tables`"),
    ],
)
def test_sql_outside_the_store_is_named_with_its_place(tmp_path: Path, code: str, told: str) -> None:
    room = tmp_path / "ironbridge" / "operate"
    room.mkdir(parents=True)
    (room / "views.py").write_text(code, "utf-8")
    assert state_owner.found(tmp_path) == [f"ironbridge/operate/views.py:1: {told}"]


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("ironbridge/store/views.py", 'ASK = "SELECT 1 FROM subjects"'),
        ("ironbridge/operate/words.py", 'SAID = "it is read from subjects and records; update flows first"'),
        ("ironbridge/operate/scratch.py", 'ASK = "SELECT 1 FROM suspects"'),
        ("adapters/liquidlogic/people.py", "from sqlalchemy import text"),
    ],
)
def test_words_and_other_databases_are_nobodys_business(tmp_path: Path, place: str, code: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True)
    file.write_text(code, "utf-8")
    assert state_owner.found(tmp_path) == []
