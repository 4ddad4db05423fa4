"""A source that is rebuilt every day is not read meanwhile, and nothing is taken for deleted because of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import NamedTuple

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from adapters.kit.refresh import RefreshWindow
from adapters.kit.sql import SqlAdapter, SqlSettings, SqlStream, row_of
from adapters.testing import Bench
from canonical.errors import UnavailableError
from canonical.key import key_of
from canonical.people import Name, Person


@row_of("rebuilt", key="number")
class RebuiltRow(NamedTuple):
    number: int
    name: str | None


def person(source: str, row: RebuiltRow) -> Person:
    return Person(key=key_of(source, "person", row.number), names=(Name(given=row.name),))


@dataclass(frozen=True)
class WindowByCount(RefreshWindow):
    """A window that begins when it was asked so often."""

    asked: Iterator[bool] = field(default_factory=lambda: iter(()))

    def holds(self, now: time) -> bool:
        return next(self.asked, False)


async def test_a_sweep_that_the_rebuilding_meets_stops_and_goes_on_afterwards_and_deletes_nothing(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'mart.db'}")
    with engine.begin() as source:
        source.execute(text("CREATE TABLE rebuilt (number INTEGER, name TEXT)"))
        source.execute(text("INSERT INTO rebuilt VALUES " + ", ".join(f"({n}, 'Child {n}')" for n in range(1, 10))))
    settings = SqlSettings(url=SecretStr(f"sqlite:///{tmp_path / 'mart.db'}"), page_size=3)
    # The first reading asks before it, and after each of its four pages; the second one meets the window after two pages.
    window = WindowByCount(time(1), time(5), iter([False] * 5 + [False, False, True]))
    adapter = SqlAdapter("mart", settings, [SqlStream("person", person)], window=window)
    bench = Bench(adapter)
    pump = bench.pump()
    assert len(await bench.read(pump)) == 9
    with engine.begin() as source:
        source.execute(text("DELETE FROM rebuilt WHERE number > 3"))  # half of it is not built yet
    with pytest.raises(UnavailableError, match=r"mart: is rebuilt every day from 01:00 to 05:00 \(Europe/London\)"):
        await bench.read(pump)
    with engine.begin() as source:
        source.execute(text("INSERT INTO rebuilt VALUES " + ", ".join(f"({n}, 'Child {n}')" for n in range(4, 10))))
    engine.dispose()
    assert await bench.read(pump) == []
    assert len(bench.log.state()) == 9
    await adapter.close()
