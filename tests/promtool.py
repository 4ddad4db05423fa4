"""Prometheus' own tool: the one on the PATH, or where all must be tested Debian's, unpacked once into the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ironbridge.kafka.distribution import cache_dir
from tests.servers import Absent


def promtool() -> str:
    if there := shutil.which("promtool"):
        return there
    kept = cache_dir() / "promtool" / "promtool"
    if not kept.exists():
        if os.environ.get("CI") != "true":
            raise Absent("promtool, to check the alerts with (it comes with Prometheus)")
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise Absent("promtool, and Debian's archive to take it from")
        _unpack(kept)
    return str(kept)


def _unpack(kept: Path) -> None:
    """Only the tool: to install the package would start a server."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)
        download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", "prometheus"]
        if subprocess.run(download, cwd=work, capture_output=True, timeout=300).returncode:
            subprocess.run(["apt-get", "-qq", "update"], check=True, capture_output=True, timeout=300)
            subprocess.run(download, cwd=work, check=True, capture_output=True, timeout=300)
        (package,) = work.glob("prometheus_*.deb")
        subprocess.run(["dpkg", "-x", package, work / "all"], check=True, timeout=120)
        kept.parent.mkdir(parents=True, exist_ok=True)
        making = kept.with_suffix(f".{os.getpid()}")
        shutil.copy2(work / "all" / "usr" / "bin" / "promtool", making)
        making.rename(kept)
