"""
HTTP: one small ASGI application beside whatever runs, where the settings say.

Beside work it has a thread, an event loop and connections of its own: a page does not wait for pages of rows to be compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from canonical.errors import MisconfiguredError
from ironbridge.console.listener import PEOPLE, PROBES, QUEUE, BoundedConfig, Bounds
from ironbridge.operate import health
from ironbridge.runtime import bridge
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import HttpSettings, address_of
from ironbridge.store import Upkeep

log = logging.getLogger(__name__)
_ROUND = 60.0  # seconds for the work's event loop to come round; a supervisor that restarts the process acts before that
_TURN = 0.001  # seconds that a busy thread keeps the interpreter from the others; Python's own 0.005 is felt in a page


def application(
    built: Platform, more: Sequence[BaseRoute] = (), turned: health.Turned = health.here
) -> Starlette:
    """Health, and `more` routes. Health needs no sign-in and says nothing about anybody; see `health.routes`."""
    return Starlette(routes=[*health.routes(health.Health(built), turned), *more])


@asynccontextmanager
async def served(built: Platform, turned: health.Turned = health.here) -> AsyncIterator[str | None]:
    """
    Serve health and the console of a platform at the addresses that its settings name. Gives the console's URL, None if
    nothing shall listen.

    If `http.probes` names an address, health has a listener of its own there and is answered only there.
    """
    http = built.settings.http
    async with AsyncExitStack() as stack:
        if http.probes is not None:
            await stack.enter_async_context(at(http.probes, application(built, (), turned), PROBES, "http.probes"))
        if http.listen is None:
            yield None
            return
        from ironbridge.console.app import mounted  # only a process that serves the console needs its libraries

        routes = await stack.enter_async_context(mounted(built))
        app = application(built, routes, turned) if http.probes is None else Starlette(routes=routes)
        yield await stack.enter_async_context(serving(app, http))


@asynccontextmanager
async def served_beside(built: Platform) -> AsyncIterator[str | None]:
    """The same beside work: in a thread of its own."""
    if built.settings.http.listen is None and built.settings.http.probes is None:
        yield None
        return
    loop = asyncio.get_running_loop()
    begun: Future[tuple[str | None, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def turned() -> None:
        async with asyncio.timeout(_ROUND):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(health.here(), loop))

    async def work() -> None:
        stop, parts = asyncio.Event(), [*built.pumps, *built.deliveries]
        try:
            async with bridge.looking(built.settings, parts, Upkeep.LEAVE) as own, served(own, turned) as url:
                begun.set_result((url, asyncio.get_running_loop(), stop))
                await stop.wait()
        except BaseException as error:
            if begun.done():
                raise
            begun.set_exception(error)

    sys.setswitchinterval(_TURN)
    with ThreadPoolExecutor(1, "http") as thread:
        running = loop.run_in_executor(thread, asyncio.run, work())
        url, beside, stop = await asyncio.wrap_future(begun)
        try:
            yield url
        finally:
            beside.call_soon_threadsafe(stop.set)
            await running


@asynccontextmanager
async def serving(app: ASGIApp, settings: HttpSettings) -> AsyncIterator[str | None]:
    """
    Serve an application where `http.listen` says, inside this process; gives its URL, None where nothing shall listen.

    :raises MisconfiguredError: the address cannot be listened on.
    """
    if settings.listen is None:
        yield None
        return
    async with at(settings.listen, app, PEOPLE, "http.listen") as url:
        yield url


@asynccontextmanager
async def at(where: str, app: ASGIApp, bounds: Bounds, setting: str) -> AsyncIterator[str]:
    """Serve an application at `host:port` within bounds; gives its URL. `setting` names the address in an error."""
    with _listening(*address_of(where), setting) as listener:
        server = _Embedded(BoundedConfig(app, bounds))
        running = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not running.done():  # noqa: ASYNC110 (uvicorn offers no event to wait for)
            await asyncio.sleep(0.005)
        listener.listen(QUEUE)
        try:
            host, port = listener.getsockname()[:2]
            url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            log.info("listening on %s" if bounds is PEOPLE else "probes are answered on %s", url)
            yield url
        finally:
            server.should_exit = True
            await running


class _Embedded(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process's signals are its own


def _listening(host: str, port: int, setting: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise MisconfiguredError(
            "http", f"cannot listen on {host}:{port} ({getattr(error, 'strerror', None) or error})",
            fix=f"set `{setting}` to another address, or stop the program that listens there",
        ) from None  # fmt: skip
    # asyncio does this only for sockets that name their protocol; without it an answer in two writes takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
