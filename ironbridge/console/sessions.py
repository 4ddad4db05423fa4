"""
The sessions of people who have signed in, kept in the state: several consoles share them, and they outlive a restart.

A cookie holds a secret word and nothing else. Once a session is ended here (somebody signs out, or the provider says so),
every copy of its cookie is worthless. The state holds only a digest of the word, so a reader of the state cannot make a
cookie from it. The provider's refresh token is encrypted with that word.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from canonical.errors import UnavailableError
from ironbridge.settings import ConsoleSettings
from ironbridge.store import Store, sessions
from ironbridge.store.sessions import SessionRow

if TYPE_CHECKING:
    from ironbridge.console.sign_in import ProviderAnswer

_AGAIN = 15.0  # seconds until a provider that did not answer is asked again
_OTHERS = 10.0  # seconds that we wait for the answer to a question that another console has asked
_LOOK = 0.2
_UNANSWERED = 3
"""A session that the provider could not confirm for so many times `recheck_minutes` counts as ended."""


@dataclass(frozen=True, slots=True)
class Session:
    """A person's name and rights."""

    name: str
    rights: tuple[str, ...]


class Sessions:
    """
    The sessions in the state. `ask` asks the provider again, see `sign_in.SignIn.again`.

    A session ends after `session_hours`, and at once when its owner signs out. It ends within `recheck_minutes` after the
    provider takes the roles away or disables its owner; within three times that if the provider does not answer.

    :raises UnavailableError: the state does not answer.
    """

    def __init__(
        self, store: Store, settings: ConsoleSettings, ask: Callable[[str], Awaitable[ProviderAnswer | None]]
    ) -> None:
        self._store = store
        self._ask = ask
        self._lasts = settings.session_hours * 3600
        self._every = settings.recheck_minutes * 60
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def begin(self, known: ProviderAnswer) -> str:
        """Open a session; returns its secret word. A session that cannot be confirmed again ends when the first check is due."""
        word, now = secrets.token_urlsafe(32), self._store.clock()
        until = now + (self._lasts if known.refresh else min(self._every, self._lasts))
        rights, refresh = " ".join(known.rights), _sealed(word, known.refresh)
        row = sessions.SessionRow(known.subject, known.name, rights, refresh, until, now)
        await sessions.add(self._store, _id(word), row)
        return word

    async def find(self, word: str) -> Session | None:
        """The session of a secret word, confirmed by the provider not long ago; None if there is none any more."""
        row = await self._row(word)
        if row is not None and self._store.clock() - row.checked >= self._every:
            row = await self._confirmed(word)
        if row is None or self._store.clock() - row.checked >= _UNANSWERED * self._every:
            return None
        return Session(row.name, tuple(row.rights.split()))

    async def end(self, word: str) -> None:
        """End a session, in every copy of its cookie."""
        await sessions.remove(self._store, _id(word))

    async def _row(self, word: str) -> SessionRow | None:
        return await sessions.get(self._store, _id(word))

    async def _confirmed(self, word: str) -> SessionRow | None:
        """Ask the provider if that is due. Of all requests and consoles that find it due, one asks."""
        async with self._turns.setdefault(_id(word), asyncio.Lock()):
            row = await self._row(word)
            if row is None or self._store.clock() - row.checked < self._every:
                return row
            if await self._claimed(word):
                await self._renew(word, row)
            else:
                await self._answered(word)
            return await self._row(word)

    async def _claimed(self, word: str) -> bool:
        return await sessions.claim(self._store, _id(word), min(_AGAIN, self._every / 2))

    async def _answered(self, word: str) -> None:
        """Another console asks: wait for its answer if this session is too old to be trusted without it."""
        for _ in range(int(_OTHERS / _LOOK)):
            row = await self._row(word)
            if row is None or self._store.clock() - row.checked < _UNANSWERED * self._every:
                return
            await asyncio.sleep(_LOOK)

    async def _renew(self, word: str, row: SessionRow) -> None:
        refresh = _opened(word, row.refresh)
        try:
            known = await self._ask(refresh) if refresh else None
        except UnavailableError:
            return  # it is asked again soon; until then its last answer holds, for a while
        if known is None or known.subject != row.subject:
            await self.end(word)
            return
        rights, kept = " ".join(known.rights), _sealed(word, known.refresh or refresh)
        await sessions.confirm(self._store, _id(word), known.name, rights, kept)


async def signing(store: Store, settings: ConsoleSettings) -> str:
    """The secret that signs the cookies: the one of the settings, or one that all consoles of this state share."""
    if settings.session_secret is not None:
        return settings.session_secret.get_secret_value()
    return await sessions.shared_key(store, "cookies", secrets.token_urlsafe(32))


def _id(word: str) -> str:
    return sha256(word.encode()).hexdigest()


def _key(word: str) -> OctKey:
    return OctKey.import_key(sha256(b"refresh " + word.encode()).digest())


def _sealed(word: str, refresh: str | None) -> bytes | None:
    if refresh is None:
        return None
    return jwe.encrypt_compact({"alg": "dir", "enc": "A256GCM"}, refresh.encode(), _key(word)).encode()


def _opened(word: str, sealed: bytes | None) -> str | None:
    if sealed is None:
        return None
    try:
        plain = jwe.decrypt_compact(bytes(sealed), _key(word)).plaintext
    except (JoseError, ValueError):
        return None
    return plain.decode() if plain else None
