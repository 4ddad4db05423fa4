"""The listener's limits: half-sent requests by the thousand, slow and large bodies, clients that read nothing. Real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ironbridge.console import serve
from ironbridge.console.listener import ACCEPTED, PEOPLE, PROBES, Bounds
from ironbridge.kafka.process import free_port
from ironbridge.runtime.bridge import Platform
from ironbridge.settings import HttpSettings, Settings
from ironbridge.store import Store

QUICK = Bounds(connections=3, head=0.3, body=0.3, taking=0.3, most=1000)
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-More: "


async def _echoed(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


async def _large(_: Request) -> PlainTextResponse:
    return PlainTextResponse("x" * 50_000_000)


APP = Starlette(routes=[Route("/", _echoed, methods=["GET", "POST"]), Route("/large", _large)])


@asynccontextmanager
async def listening(bounds: Bounds = QUICK) -> AsyncIterator[int]:
    async with serve.at("127.0.0.1:0", APP, bounds, "http.listen") as url:
        yield int(url.rpartition(":")[2])


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All bytes until the other side hangs up, in whatever way it does."""
    got = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(60):
            while piece := await reader.read(1 << 16):
                got += piece
    return got


async def exchanged(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
    try:
        return await rest(reader)
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("sent", [b"", HALF, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"])
async def test_who_does_not_send_a_whole_request_is_cut(sent: bytes):
    async with listening() as port:
        assert b"200 OK" not in await exchanged(port, sent)


async def test_a_head_that_comes_word_by_word_has_no_more_time_than_any_other():
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HALF)
        gone = asyncio.create_task(rest(reader))
        async with asyncio.timeout(60):
            while not gone.done():
                writer.write(b"x")
                await asyncio.sleep(0.01)
        writer.transport.abort()


async def test_a_second_request_on_a_connection_has_its_deadline_too():
    async with listening() as port:
        whole = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        got = await exchanged(port, whole + HALF)
        assert got.count(b"200 OK") == 1


async def test_a_connection_may_be_used_again_and_a_page_may_take_its_time():
    async with listening() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        for size in (0, 10, 1000):
            assert (await http.post("/", content=b"x" * size)).text == str(size)


async def test_more_than_a_form_is_not_read():
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 100

    async with listening() as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        for content in (b"x" * 1001, pieces()):
            assert (await http.post("/", content=content)).status_code == 413


async def test_who_takes_nothing_of_what_was_asked_for_is_cut():
    async with listening() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(60), httpx.AsyncClient(trust_env=False) as http:
            await reader.read(1)
            others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            while True:  # its place becomes free, although it has neither taken the answer nor hung up
                try:
                    if (await http.get(f"http://127.0.0.1:{port}/")).status_code == 200:
                        break
                except httpx.TransportError:
                    continue
        for _, each in [(reader, writer), *others]:
            each.transport.abort()


async def test_who_comes_when_all_places_are_taken_is_told_so_at_once_and_is_well_later():
    async with listening(Bounds(connections=3, head=3600.0)) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert (await exchanged(port)).startswith(b"HTTP/1.1 503")
        for _, writer in held:
            writer.transport.abort()
        async with asyncio.timeout(60):
            whole = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            while not (await exchanged(port, whole)).startswith(b"HTTP/1.1 200"):
                pass


async def test_probes_have_a_listener_of_their_own_and_nothing_else_there(store: Store, tmp_path: Path):
    probes = f"127.0.0.1:{free_port()}"
    settings = Settings(data=tmp_path, http=HttpSettings(listen="127.0.0.1:0", probes=probes))
    async with serve.served(Platform(settings, store)) as url, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://{probes}/healthz")).status_code == 200
        assert (await http.get(f"http://{probes}/")).status_code == 404
        assert (await http.get(f"{url}/healthz")).status_code == 404
        assert (await http.get(f"{url}/")).status_code == 200


async def test_a_process_may_answer_to_probes_alone(store: Store, tmp_path: Path):
    probes = f"127.0.0.1:{free_port()}"
    settings = Settings(data=tmp_path, http=HttpSettings(probes=probes))
    async with serve.served_beside(Platform(settings, store)) as url, httpx.AsyncClient(trust_env=False) as http:
        assert url is None
        assert (await http.get(f"http://{probes}/progress")).status_code == 200


async def test_eleven_hundred_half_sent_requests_to_the_console_silence_nothing(tmp_path: Path):
    file, probes = tmp_path / "ironbridge.toml", free_port()
    file.write_text(f'data = {json.dumps(str(tmp_path))}\n[http]\nprobes = "127.0.0.1:{probes}"', encoding="utf-8")
    made = await asyncio.create_subprocess_exec(sys.executable, "-m", "ironbridge", "migrate", "--file", str(file))
    assert await made.wait() == 0
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ironbridge", "console", "--file", str(file), "--listen", "127.0.0.1:0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(120):
            found = re.search(r"http://127\.0\.0\.1:(\d+)", (await process.stdout.readline()).decode())
            assert found is not None
            await _besieged(process.pid, int(found[1]), probes)
    finally:
        process.terminate()
        await process.wait()


async def _besieged(pid: int, port: int, probes: int) -> None:
    descriptors = Path(f"/proc/{pid}/fd")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/")).status_code == 200
        before, most = len(os.listdir(descriptors)), 0
        with ExitStack() as stack:
            for _ in range(1100):
                half = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                with contextlib.suppress(ConnectionError):
                    half.send(HALF)
                most = max(most, len(os.listdir(descriptors)))
            for path in ("healthz", "progress"):
                assert (await http.get(f"http://127.0.0.1:{probes}/{path}")).status_code == 200
            # The cut connections may stay a moment: allow for another round of newcomers and a few of the database's.
            assert most <= before + PEOPLE.connections + 4 * ACCEPTED
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get(f"http://127.0.0.1:{port}/")).status_code == 200:
                    break
            await asyncio.sleep(0.05)
        while len(os.listdir(descriptors)) > before + 10:  # a few of the database's
            await asyncio.sleep(0.05)


def test_a_probe_has_less_time_and_fewer_places_than_a_person():
    assert (PROBES.connections, PROBES.head) < (PEOPLE.connections, PEOPLE.head)
