"""
Does slow work on a file apart from the event loop: in a thread, or in a process of its own for a large file.

A thread shares the interpreter, and slows every other task of the loop to half its speed. The process knows none of our secrets
and may take only so much memory and processor time. If the machine runs out of memory, the kernel ends this process first: that
costs one file, not the bridge. It hands over plain values only. The key of an encrypted file is told to it with its work.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import resource
import struct
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from adapters.kit.plain import loads
from canonical.errors import BadRecordError, DoubtfulError, UnavailableError

T = TypeVar("T")
_SECONDS = 900
_FRAME = struct.Struct(">cI")  # the kind of message, and its length in bytes
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from adapters.kit import aside; aside.main()"
_VALUE, _BAD, _AWAY, _END = b"v", b"b", b"a", b"e"


@dataclass(frozen=True, slots=True)
class FileWork:
    """
    Work on one file of a source, which another process can be told of. It gives plain values: the first one once the whole file
    was looked through. The process may take `memory` bytes and so many `seconds` of processor time; each value is waited for as
    long by the clock, on a machine that has much else to do.
    """

    source: str
    work: Callable[[], Generator[Any, None, None]]
    memory: int
    seconds: int = _SECONDS


async def in_a_process(this: FileWork) -> AsyncGenerator[Any, None]:
    """
    Give the values of the work, as another process works them out.

    :raises BadRecordError: the file is refused. It comes before the first value, and only then.
    :raises UnavailableError: the file cannot be read now.
    """
    async with _started(this) as process:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        given = 0
        while True:
            kind, payload = await _frame(process.stdout, this, given)
            if kind == _END:
                return
            said = loads(payload)
            if kind != _VALUE:
                raise _error(kind, said)
            yield said
            given += 1


async def in_a_thread(this: FileWork) -> AsyncGenerator[Any, None]:
    """Give the values of the work, as a thread works them out. Raises as `in_a_process` does."""
    values = this.work()
    try:
        while (value := await threaded(lambda: next(values, _NONE))) is not _NONE:
            yield value
    finally:
        await threaded(values.close)


async def threaded(work: Callable[[], T]) -> T:
    """Run it in a thread, to its end even if we are cancelled: nobody may close the things it works on before that."""
    doing = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise


def environment() -> dict[str, str]:
    """Ours without our secrets: what reads strangers' files need not know them."""
    return {name: value for name, value in os.environ.items() if not name.startswith("IRONBRIDGE_")}


_NONE = object()


@asynccontextmanager
async def _started(this: FileWork) -> AsyncIterator[Process]:
    """The process at its work; it is ended however the reading ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _START, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment()
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (they are pipes)
    try:
        path = [entry or os.getcwd() for entry in sys.path]
        process.stdin.write(pickle.dumps(path) + pickle.dumps(this))
        process.stdin.close()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # asyncio does not notice the end of a process whose output is still waiting: it would wait for ever.
        await process.stdout.read()
        await process.wait()


async def _frame(out: asyncio.StreamReader, this: FileWork, given: int) -> tuple[bytes, bytes]:
    try:
        async with asyncio.timeout(this.seconds):
            kind, size = _FRAME.unpack(await out.readexactly(_FRAME.size))
            return kind, await out.readexactly(size)
    except TimeoutError:
        raise UnavailableError(
            this.source, f"a file is not read within {this.seconds} s", fix="see whether the share is well"
        ) from None
    except asyncio.IncompleteReadError:
        if given > 1:  # then the file can be read, and somebody else ended the process
            raise UnavailableError(this.source, "the process that read a file was ended") from None
        raise _too_much(this) from None


def _error(kind: bytes, said: dict[str, str]) -> BadRecordError | UnavailableError:
    if kind == _AWAY:
        return UnavailableError(said["where"], said["what"], fix=said["fix"])
    where, doubt = said.pop("where"), said.pop("doubt")
    return DoubtfulError(where, doubt, **said) if doubt else BadRecordError(where, **said)


def _too_much(this: FileWork) -> BadRecordError:
    return BadRecordError(
        f"{this.source} file", field="file", shape="bytes", fix="split it, or raise max_megabytes in the settings",
        rule=f"cannot be read in {this.memory // 1_000_000} MB and {this.seconds} s",
    )  # fmt: skip


# -- in the other process ------------------------------------------------------------------------------------------


def main() -> None:
    """Run in the process: do the work that standard input names."""
    this: FileWork = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own process wrote it)  # nosec B301
    resource.setrlimit(resource.RLIMIT_AS, (this.memory, this.memory))
    resource.setrlimit(resource.RLIMIT_CPU, (this.seconds, this.seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")  # if memory runs out all the same, the kernel ends this process first
    with contextlib.suppress(BrokenPipeError):
        _work(this, sys.stdout.buffer)
    os._exit(0)  # nothing is left to be tidied up, and the data in memory is large


def _work(this: FileWork, out: IO[bytes]) -> None:
    try:
        for value in this.work():
            _say(out, _VALUE, value)
        _say(out, _END, None)
    except BadRecordError as error:
        said = {"field": error.field, "rule": error.rule, "shape": error.shape, "doubt": getattr(error, "doubt", "")}
        _say(out, _BAD, {"where": error.where, "fix": error.fix, **said})
    except UnavailableError as error:
        _say(out, _AWAY, {"where": error.where, "what": error.what, "fix": error.fix})


def _say(out: IO[bytes], kind: bytes, what: Any) -> None:
    packed = io.BytesIO()
    pickle.dump(what, packed)
    out.write(_FRAME.pack(kind, packed.tell()) + packed.getvalue())
    out.flush()
