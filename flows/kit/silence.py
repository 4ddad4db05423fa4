"""
Reads for how long the other side asks to be left alone (Retry-After), and lets the budget know that all workers of a target
share.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import httpx

from canonical.connect.oauth import wait_asked
from flows.port import LONGEST_SILENCE

HOLD: Final = "ironbridge.hold"
"""The response extension by which `heed` reaches the budget that the request was paid from."""


def retry_after(response: httpx.Response) -> timedelta | None:
    """Tell how long the other side asks us to wait, `LONGEST_SILENCE` at most; None if it does not say."""
    asked = wait_asked(response)
    return None if asked is None else min(asked, LONGEST_SILENCE)


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
