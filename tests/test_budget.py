"""The shared budget on SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ironbridge.store import Store, open_store
from tests.budgets import BudgetScenarios


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite+aiosqlite:///{tmp_path}/state.sqlite3")
    yield opened
    await opened.close()


class TestOnSQLite(BudgetScenarios):
    pass
