"""
A measured piece of work in a process of its own, so that its memory is its own: `python -m bench.job NAME ARGUMENTS`.

What it measured is one line of JSON at the end of its output; its arguments are JSON, too.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

JOBS = {
    "sweep": "bench.sweep",
    "debezium": "bench.rivals",
    "mq_bridge": "bench.rivals",
    "flow": "bench.flow",
    "fill_topics": "bench.flow",
    "kit": "bench.kit",
    "files": "bench.files",
    "fill_events": "bench.open_tables",
    "tables": "bench.open_tables",
    "contacts": "bench.contacts",
}


class FailedJobError(RuntimeError):
    """A job ended without a result; the message holds the end of what it wrote."""


def environment(folder: Path | None = None) -> dict[str, str]:
    """
    The environment of a measured process: its bytecode is kept, as it is where pip has installed a program.

    Without that, a machine that forbids writing it compiles every module again at each start.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    kept["PYTHONPYCACHEPREFIX"] = str(folder or Path(tempfile.gettempdir()) / f"ironbridge-bench-{os.getuid()}")
    return kept


def run(
    name: str, seconds: float = 900, profile: Path | None = None, tree: Path | None = None, **arguments: Any
) -> dict[str, Any]:
    """
    Run a job to its end. `profile` is where py-spy writes its file (speedscope.app reads it); `tree` is the checkout whose
    code is run, if it is not this one.
    """
    command = [sys.executable, "-m", "bench.job", name, json.dumps(arguments)]
    if profile is not None:
        spy = Path(sys.executable).with_name("py-spy")
        command = [
            str(spy),
            "record",
            "-r",
            "250",
            "--nonblocking",
            "-f",
            "speedscope",
            "-o",
            str(profile),
            "--",
            *command,
        ]
    # The folder in which `python -m` starts comes first on the module path: its code runs, not the installed one.
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds, check=False, env=environment(), cwd=tree
    )
    found = [line for line in done.stdout.splitlines() if line.startswith('{"job"')]
    if done.returncode != 0 or not found:
        raise FailedJobError(f"{name} ended with status {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    result: dict[str, Any] = json.loads(found[-1])
    return result


def peak() -> float:
    """The most memory that this process has ever had, in MB (of 1,000,000 bytes)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    work = getattr(importlib.import_module(JOBS[name]), name)
    gc.collect()
    print(json.dumps({"job": name, **work(**arguments)}), flush=True)
    sys.stdout.flush()
    os._exit(0)  # a JVM in this process, or a thread of it, is not waited for


if __name__ == "__main__":
    main()
