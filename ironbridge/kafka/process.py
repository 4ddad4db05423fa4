"""Server processes on this machine: free ports, a start that ends with its starter, and the end of one left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count, islice
from pathlib import Path

from canonical.errors import UnavailableError

HOST = "127.0.0.1"
STOP_PATIENCE = 20.0  # seconds between the request to stop and the kill


_PORTS = range(20_000, 32_768)
"""No outgoing connection is given one of these by default, so that a server that starts once more finds its port free."""
_APART = 7_891
"""Each process begins elsewhere, neighbours by the golden section of all ports apart: two seldom come to the same one."""
_steps = count()


def free_port() -> int:
    """
    Give a TCP port of 127.0.0.1 that nothing listens on at this moment; the next call gives another one.

    :raises UnavailableError: all of them are taken.
    """
    start = os.getpid() * _APART
    for step in islice(_steps, len(_PORTS)):
        if is_free(port := _PORTS[(start + step) % len(_PORTS)]):
            return port
    raise UnavailableError("this machine", f"all ports from {_PORTS[0]} to {_PORTS[-1]} of {HOST} are taken")


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections do not count
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def spawn(
    command: list[str], *, log: Path, user: str | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """
    Start a server that ends, gracefully, when the thread that started it does: even when we are killed.

    It writes to `log` (the last start's log is kept beside it as `.1`) and is shielded from the terminal's Ctrl-C, so
    that it outlives its users and not the other way round.
    """
    if log.exists():
        log.replace(log.with_suffix(log.suffix + ".1"))
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=cwd, user=user,
            start_new_session=True, preexec_fn=_tie_to_parent(),
        )  # fmt: skip


def _tie_to_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    # Looked up before the fork: between fork and exec a child of a threaded program may do next to nothing.
    prctl = ctypes.CDLL(None).prctl
    parent, set_death_signal = os.getpid(), 1  # PR_SET_PDEATHSIG of <sys/prctl.h>

    def tie() -> None:
        prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != parent:  # killed before the line above took hold
            os._exit(1)

    return tie


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a server's log, at most 4 kB, and nothing when there is no log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")[-4096:]
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def command_of(pid: int) -> list[str] | None:
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended, or this system has no /proc: then what was left over is not cleaned up
        return None
    return raw.decode(errors="surrogateescape").split("\0")[:-1]


def parent_of(pid: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        # The name in the second field may hold spaces and brackets; the parent is the second field after it.
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


async def end_process(pid: int, command: list[str]) -> None:
    for sign, patience in ((signal.SIGTERM, STOP_PATIENCE), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if command_of(pid) != command:
                return
            await asyncio.sleep(0.05)
    raise UnavailableError("broker", f"process {pid}, left behind by a killed program, does not end", fix=f"end {pid}")
