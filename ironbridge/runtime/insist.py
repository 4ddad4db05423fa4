"""Keeps a part of a process going, whatever it raises: none of it ever stops another part."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    retry_if_not_exception_type,
    wait_exponential_jitter,
)

from canonical.errors import FencedError, IronbridgeError, UnavailableError, ends_us, ours

log = logging.getLogger(__name__)
T = TypeVar("T")

Work = Callable[[], Awaitable[None]]
Trouble = Callable[[IronbridgeError], Awaitable[None]]


async def insist(what: str, work: Work, stop: asyncio.Event, trouble: Trouble) -> None:
    """
    Do it, again and again whatever it raises, longer apart each time, until it is done or we are told to stop. `trouble` notes
    each error, so that people see it.

    :raises FencedError: a newer copy has taken over.
    """

    async def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0.0
        log.warning("%s; next attempt in %.1f s", error, wait)
        if isinstance(error, IronbridgeError):
            try:
                await trouble(error)
            except Exception as also:
                log.warning("%s: its trouble could not be noted: %s", what, ours(what, also))

    async for attempt in AsyncRetrying(
        retry=retry_if_not_exception_type((FencedError, asyncio.CancelledError, KeyboardInterrupt, GeneratorExit)),
        wait=wait_exponential_jitter(multiplier=0.5, max=30, jitter=0.5),
        sleep=lambda seconds: nap(stop, seconds),
        stop=lambda _state: stop.is_set(),
        before_sleep=say,
        retry_error_callback=lambda _state: None,
    ):
        with attempt:
            await in_our_words(what, work)


async def in_our_words(what: str, work: Work) -> None:
    """Do it. Whatever it raises is raised as an error of ours: also what would end a program, and another's cancellation."""
    try:
        await work()
    except BaseException as error:
        if ends_us(error):
            raise
        raise ours(what, error) from error


async def nap(stop: asyncio.Event, seconds: float) -> None:
    """Wait so many seconds, or until we are told to stop."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def once_there(work: Callable[[], Awaitable[T]], patient: asyncio.Event | None) -> T:
    """Do it as soon as what it needs is there; without `patient` at once or never."""

    def say(state: RetryCallState) -> None:
        error, wait = state.outcome and state.outcome.exception(), state.next_action and state.next_action.sleep
        log.warning("not started yet: %s; next attempt in %.1f s", error, wait or 0.0)

    if patient is None:
        return await work()
    async for attempt in AsyncRetrying(
        retry=retry_if_exception_type(UnavailableError),
        wait=wait_exponential_jitter(multiplier=0.5, max=15, jitter=0.5),
        sleep=lambda seconds: nap(patient, seconds),
        stop=lambda _state: patient.is_set(),
        before_sleep=say,
        reraise=True,
    ):
        with attempt:
            return await work()
    raise AssertionError("it either returns or raises")
