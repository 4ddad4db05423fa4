"""Work that takes longer than a page may: a plan, a reconciliation. One of a kind at a time; its result is kept to be seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from canonical.errors import IronbridgeError


@dataclass
class BackgroundJob:
    """`done` counts what was found so far, `step` is what it is at; `result` is there once it ended well, `trouble` if not."""

    name: str
    asked_by: str
    began: float = field(default_factory=time.time)
    ended: float | None = None
    done: int = 0
    step: str = ""
    result: Any = None
    trouble: str = ""

    @property
    def running(self) -> bool:
        return self.ended is None

    @property
    def took(self) -> float:
        return (self.ended or time.time()) - self.began


class Jobs:
    """The last job of each name. They live as long as the process: what is worth keeping is downloaded."""

    def __init__(self) -> None:
        self._jobs: dict[str, BackgroundJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, name: str) -> BackgroundJob | None:
        return self._jobs.get(name)

    def begin(self, name: str, asked_by: str, work: Callable[[BackgroundJob], Coroutine[Any, Any, Any]]) -> BackgroundJob:
        """Begin it, unless it runs already."""
        had = self._jobs.get(name)
        if had is not None and had.running:
            return had
        job = self._jobs[name] = BackgroundJob(name, asked_by)
        task = asyncio.create_task(self._do(job, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def _do(self, job: BackgroundJob, work: Callable[[BackgroundJob], Coroutine[Any, Any, Any]]) -> None:
        try:
            job.result = await work(job)
        except IronbridgeError as error:
            job.trouble = str(error)
        except Exception as error:
            # Its text may quote a record; the kind is enough to find it.
            job.trouble = f"it failed with {type(error).__name__}, which is a mistake in the program"
            raise
        finally:
            job.ended = time.time()

    def running(self, name: str) -> bool:
        job = self._jobs.get(name)
        return job is not None and job.running

    async def close(self) -> None:
        """Give up what still runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
