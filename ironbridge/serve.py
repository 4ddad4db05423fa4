"""HTTP: one small ASGI application beside whatever runs, where the settings say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from canonical.errors import MisconfiguredError
from ironbridge import health
from ironbridge.bridge import Platform
from ironbridge.settings import HttpSettings

log = logging.getLogger(__name__)


def application(built: Platform, more: Sequence[BaseRoute] = ()) -> Starlette:
    """Health, and `more` routes. Health needs no sign-in and says nothing about anybody."""
    return Starlette(routes=[*health.routes(health.Health(built)), *more])


@asynccontextmanager
async def served(built: Platform) -> AsyncIterator[str | None]:
    """Health and the console over a platform, where its settings say; gives their URL, None where nothing shall listen."""
    if built.settings.http.address is None:
        yield None
        return
    from ironbridge.console.app import mounted  # its libraries are for those who serve it

    async with mounted(built) as routes, serving(application(built, routes), built.settings.http) as url:
        yield url


@asynccontextmanager
async def serving(app: ASGIApp, settings: HttpSettings) -> AsyncIterator[str | None]:
    """
    Serve an application where `http.listen` says, inside this process; gives its URL, None where nothing shall listen.

    :raises MisconfiguredError: the address cannot be listened on.
    """
    if settings.address is None:
        yield None
        return
    with _listening(*settings.address) as listener:
        config = uvicorn.Config(
            app, ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=2,
        )  # fmt: skip
        server = _Embedded(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn offers no event to wait for)
            await asyncio.sleep(0.005)
        try:
            host, port = listener.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            log.info("listening on %s", url)
            yield url
        finally:
            server.should_exit = True
            await running


class _Embedded(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process's signals are its own


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise MisconfiguredError(
            "http", f"cannot listen on {host}:{port} ({getattr(error, 'strerror', None) or error})",
            fix="set `http.listen` to another address, or stop what listens there",
        ) from None  # fmt: skip
    # asyncio does this only for sockets that name their protocol; without it an answer in two writes takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
