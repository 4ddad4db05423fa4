"""
Reads for how long the other side asks to be left alone (Retry-After), and lets the budget know that all workers of a target
share.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from flows.port import LONGEST_SILENCE

HOLD: Final = "ironbridge.hold"
"""The response extension by which `heed` reaches the budget that the request was paid from."""
_SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")


def retry_after(response: httpx.Response) -> timedelta | None:
    """
    Tell how long the other side asks us to wait: seconds or an HTTP date (RFC 9110, 10.2.3), `LONGEST_SILENCE` at most.
    Parts of a second count, though the RFC has none; of several the longest is meant.

    None if the answer does not say, or says it in a form that cannot be read.
    """
    # Measured by the server's own clock if the answer shows it, because our clock may differ.
    now = _moment(response.headers.get("date", "")) or datetime.now(UTC)
    every = (_wait(said.strip(), now) for said in response.headers.get_list("retry-after"))
    waits = [wait for wait in every if wait is not None]
    return min(max(waits), LONGEST_SILENCE) if waits else None


def _wait(said: str, now: datetime) -> timedelta | None:
    """The wait that one Retry-After asks for; a proxy may have put several in one, joined by commas."""
    parts = [part.strip() for part in said.split(",")]
    if all(map(_SECONDS.fullmatch, parts)):
        return timedelta(seconds=min(max(float(part[:12]) for part in parts), 1e6))
    until = _moment(said)
    return None if until is None else max(until - now, timedelta(0))


def _moment(said: str) -> datetime | None:
    """Parse an HTTP date; None if it is none."""
    try:
        moment = parsedate_to_datetime(said)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):  # whatever the standard library makes of it
        return None


def silence_asked(response: httpx.Response) -> timedelta | None:
    """Tell for how long a status of 429, 502 or 503 asks every worker to be silent; None if the answer asks for nothing."""
    return (retry_after(response) or None) if response.status_code in (429, 502, 503) else None


async def heed(whole: httpx.Response, parts: Iterable[httpx.Response]) -> None:
    """
    Hold the budget for as long as one of several answers asks that came inside another answer. It is the budget that the whole
    request was paid from; a client without one (`flows.kit.http.client` has one) has nothing to hold.
    """
    asked = [after for part in parts if (after := silence_asked(part))]
    hold = whole.extensions.get(HOLD)
    if asked and hold is not None:
        await hold(max(asked))
