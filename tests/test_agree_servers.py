"""Agreement on PostgreSQL: the same promises, and what several workers of one flow owe each other."""

from collections.abc import AsyncIterator

import pytest

from ironbridge.store import Store, open_store
from tests.agreement_scenarios import AgreementScenarios
from tests.budgets import BudgetScenarios


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[Store]:
    opened = await open_store(postgres_url)
    yield opened
    await opened.close()


class TestOnPostgreSQL(AgreementScenarios):
    pass


class TestBudgetOnPostgreSQL(BudgetScenarios):
    pass
