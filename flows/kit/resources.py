"""A target asks the runtime for these resources, to reach its system with."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from canonical.connect.sql import SqlLogin
from flows.kit.folder import SharedFolder
from flows.kit.requests import Budget, Requests
from flows.kit.sql import TargetDatabase
from flows.port import Limits

if TYPE_CHECKING:
    import httpx


class Resources:
    """
    The means of one target. The target is built once in a process, so all of its flows share them.

    All of them spend the target's one budget, check the worker's claim before a request that changes something, and open one
    trace span a request. `budget_of` makes the budget from the limits that the target names first. Close them with
    `async with`: the connections end then.
    """

    def __init__(self, target: str, budget_of: Callable[[Limits], Budget]) -> None:
        self.target = target
        self._budget_of = budget_of
        self._budget: Budget | None = None
        self._open = AsyncExitStack()

    def http(self, limits: Limits, *, timeout: httpx.Timeout | None = None) -> httpx.AsyncClient:
        """A client for HTTP, with at most `limits.concurrency` connections. See `flows.kit.http`, also for the usual timeout."""
        from flows.kit.http import TIMEOUT, client  # an eighth of all that a start imports, which no adapter needs

        made = client(limits, self._spending(limits), timeout=timeout or TIMEOUT)
        self._open.push_async_exit(made)
        return made

    def folder(self, limits: Limits, path: Path) -> SharedFolder:
        """A folder that files are imported from, with at most `limits.concurrency` steps at once. See `flows.kit.folder`."""
        made = SharedFolder(self.target, path, self.requests(limits), limits.concurrency)
        self._open.callback(made.close)
        return made

    def sql(self, limits: Limits, url: SecretStr) -> TargetDatabase:
        """A SQL database to write to, with at most `limits.concurrency` connections. See `flows.kit.sql`."""
        made = TargetDatabase(SqlLogin(self.target, url, limits.concurrency), self.requests(limits))
        self._open.push_async_callback(made.close)
        return made

    def requests(self, limits: Limits) -> Requests:
        """The account for any other way of sending, such as a queue."""
        return Requests(self.target, self._spending(limits))

    def _spending(self, limits: Limits) -> Budget:
        self._budget = self._budget or self._budget_of(limits)
        return self._budget

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Any:
        return await self._open.__aexit__(kind, error, traceback)
