"""Runs a fuzzer as a command does, in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def fuzzed(module: str, seeds: str) -> str:
    """The fuzzer's findings; empty if all is well."""
    command = [sys.executable, "-m", module, "--seeds", seeds, "--jobs", str(min(os.cpu_count() or 1, 4))]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": "0"}, capture_output=True, text=True)
    return done.stdout if done.stdout else done.stderr * bool(done.returncode)
