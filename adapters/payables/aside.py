"""
Reads a large file in a process of its own, so that neither our event loop nor our memory is burdened.

A thread would not do: it shares the interpreter, and slows every other task of the loop to half its speed. The process
knows none of our secrets and may take only so much memory and processor time. If the machine runs out of memory, the
kernel ends this process first: that costs one file, not the bridge. It hands over plain values only.
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
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import IO, Any

from adapters.payables import reading
from adapters.payables.folder import Found, content
from adapters.payables.reading import Reckoning, Rules
from adapters.payables.scratch import loads
from adapters.payables.workbook import environment
from adapters.port import Record
from canonical.errors import BadRecordError, DoubtfulError, UnavailableError

_MEMORY = 20  # bytes of memory allowed for each byte of the file's limit, and
_AT_LEAST = 512_000_000  # at least so many
_SECONDS = 900  # of processor time
_PATIENCE = 900.0  # seconds by the clock for the next portion, on a machine that has much else to do
_FRAME = struct.Struct(">cI")  # the kind of message (see `_Said`), and its length in bytes
_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from adapters.payables import aside; aside.main()"
_READ, _PORTION, _BAD, _AWAY, _END = b"r", b"p", b"b", b"a", b"e"


async def portions(
    found: Found, rules: Rules, most: int, say: Callable[[Reckoning], None]
) -> AsyncGenerator[list[Record], None]:
    """
    A file's records, so many at a time; before the first of them, the account of its rows is given.

    :raises BadRecordError: nothing of the file is to be published. It comes before the first portion, and only then.
    :raises UnavailableError: the file cannot be read now.
    """
    async with _started(found, rules, most) as process:
        assert process.stdout is not None  # noqa: S101 (it is a pipe)
        given = 0
        while True:
            kind, payload = await _frame(process.stdout, rules, given)
            if kind == _END:
                return
            said = loads(payload)
            if kind == _READ:
                say(Reckoning(**said))
            elif kind == _PORTION:
                yield reading.unpacked(said, given)
                given += len(said)
            else:
                raise _error(kind, said)


@asynccontextmanager
async def _started(found: Found, rules: Rules, most: int) -> AsyncIterator[Process]:
    """The process at its work; it is ended however the reading ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", _START, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment()
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (they are pipes)
    try:
        path = [entry or os.getcwd() for entry in sys.path]
        process.stdin.write(pickle.dumps(path) + pickle.dumps((found, rules, most)))
        process.stdin.close()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # asyncio does not notice the end of a process whose output is still waiting: it would wait for ever.
        await process.stdout.read()
        await process.wait()


async def _frame(out: asyncio.StreamReader, rules: Rules, given: int) -> tuple[bytes, bytes]:
    try:
        async with asyncio.timeout(_PATIENCE):
            kind, size = _FRAME.unpack(await out.readexactly(_FRAME.size))
            return kind, await out.readexactly(size)
    except TimeoutError:
        raise UnavailableError(
            rules.source, f"a file is not read within {_PATIENCE:.0f} s", fix="see whether the share is well"
        ) from None
    except asyncio.IncompleteReadError:
        if given:  # then the file can be read, and somebody else ended the process
            raise UnavailableError(rules.source, "the process that read a file was ended") from None
        raise _too_much(rules) from None


def _error(kind: bytes, said: dict[str, str]) -> BadRecordError | UnavailableError:
    if kind == _AWAY:
        return UnavailableError(said["where"], said["what"], fix=said["fix"])
    where, doubt = said.pop("where"), said.pop("doubt")
    return DoubtfulError(where, doubt, **said) if doubt else BadRecordError(where, **said)


def _limit(rules: Rules) -> int:
    return _AT_LEAST + _MEMORY * rules.largest


def _too_much(rules: Rules) -> BadRecordError:
    return BadRecordError(
        f"{rules.source} file", field="file", shape="bytes", fix="split it, or raise max_megabytes in the settings",
        rule=f"cannot be read in {_limit(rules) // 1_000_000} MB and {_SECONDS} s",
    )  # fmt: skip


# -- in the other process ------------------------------------------------------------------------------------------


def main() -> None:
    """Run in the process: read the file that standard input names."""
    found, rules, most = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own process wrote it)  # nosec B301
    memory = _limit(rules)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")  # if memory runs out all the same, the kernel ends this process first
    with contextlib.suppress(BrokenPipeError):
        _work(found, rules, most, sys.stdout.buffer)
    os._exit(0)  # nothing is left to be tidied up, and the data in memory is large


def _work(found: Found, rules: Rules, most: int, out: IO[bytes]) -> None:
    try:
        data = content(rules.source, found, rules.largest)
        with reading.opened(found.name, data, rules) as opened:
            del data
            _say(out, _READ, opened.reckoning.as_dict())
            for rows in opened.packed(most):
                _say(out, _PORTION, rows)
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
