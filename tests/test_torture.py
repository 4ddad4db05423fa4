"""The platform is killed, cut off and lied to for some minutes, and no promise is broken. `docs/torture/` has the long run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SEED = int(os.environ.get("IRONBRIDGE_TORTURE_SEED", "60"))


@pytest.mark.servers
def test_sixty_kills_and_all_the_rest_break_no_promise(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.torture", "--seed", str(SEED), "--kills", "60", "--report", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1500, check=False)
    print(done.stdout[-8000:], done.stderr[-4000:])
    figures = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert figures["violations"] == []
    assert sum(figures["kills"].values()) >= 60
    # With default settings, a killed worker's work is in another one's hands within half a minute.
    assert figures["measured"]
    assert all(seconds <= 30 for seconds in figures["measured"].values()), figures["measured"]
    assert done.returncode == 0
    assert {"report.md", "report.html", "report.svg"} <= {file.name for file in tmp_path.iterdir()}
