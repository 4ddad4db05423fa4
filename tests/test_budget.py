"""The shared budget on SQLite."""



from tests.budgets import BudgetScenarios


class TestOnSQLite(BudgetScenarios):
    pass
