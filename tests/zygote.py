"""
Starts processes of the program quickly: it has loaded the program once, and forks for each. The torture and the tests of the
command line use it.

`python -m tests.zygote` takes a line of JSON for each thing to do on stdin and answers each on stdout. Each child is a process
of its own, to be killed like any other; only loading the modules again is spared. Nothing runs in the process that forks: no
thread, no event loop, no connection. It ends, and all its children with it, when its stdin does. How the program is loaded is
tested by those that start `python -m ironbridge`: the demonstration's, the console's, `run_cold` of the torture and others.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

_children: set[int] = set()


@dataclass
class Zygote:
    """The process that starts the others, as its user sees it."""

    process: subprocess.Popen[str]
    logs: Path
    environment: Mapping[str, str]

    @classmethod
    def start(cls, logs: Path, environment: Mapping[str, str]) -> Zygote:
        command = [sys.executable, "-m", "tests.zygote"]
        given: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": environment}
        with (logs / "zygote.log").open("ab") as log:
            return cls(subprocess.Popen(command, cwd=ROOT, text=True, stderr=log, **given), logs, environment)

    def ask(self, **asked: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ready(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def run(self, *words: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run one command of the program to its end, in a folder."""
        out, err = (self.logs / f"{time.monotonic_ns()}.{kind}" for kind in ("out", "err"))
        pid = self.ask(words=words, out=str(out), log=str(err), folder=str(folder), environment=environment)["pid"]
        deadline = time.monotonic() + 60
        while (status := self.ask(ended=pid)["status"]) is None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        return subprocess.CompletedProcess(words, status, out.read_text("utf-8"), err.read_text("utf-8"))

    def stop(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def _tell(*_: object) -> None:
    """On SIGUSR1: where every task stands, for whoever looks for what is stuck."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=12, file=sys.stderr)


def _become(asked: dict[str, Any]) -> int:
    """In the child: be the program."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGUSR1, _tell)
    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing that was forked outlives us
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if asked.get("out") else log
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(log, 2)
    os.chdir(asked.get("folder", "."))
    os.environ.update(asked.get("environment", {}))  # FAKETIME is one of them; libfaketime reads it at each call
    if asked.get("release"):
        from tests.torture import release

        release.install()
    if asked.get("mortal"):
        from tests.torture import mortal

        return mortal.main(**asked["mortal"])
    from ironbridge.__main__ import main

    sys.argv = ["ironbridge", *asked["words"]]
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)


def _forked(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        _children.add(pid)
        return pid
    status = 70
    try:
        status = _become(asked)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _ended(pid: int) -> int | None:
    """Its exit status once it has ended (negative: the signal that ended it), and then it is forgotten."""
    if pid not in _children:
        return 0
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    _children.discard(pid)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    import flows.kit.sandbox  # noqa: F401
    import ironbridge.program  # noqa: F401
    from ironbridge.runtime import installed
    from tests.torture import mortal, release  # noqa: F401

    installed.adapters()
    installed.targets()
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, signal.SIG_IGN)  # they are for the torture, and then our stdin ends
    gc.collect()
    gc.freeze()  # a child's garbage collector would write into every page that it shares with us
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "ended" in asked:
            answer: dict[str, Any] = {"status": _ended(asked["ended"])}
        else:
            answer = {"pid": _forked(asked)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in _children:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
