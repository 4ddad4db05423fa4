"""Programs of Debian that this machine has not: their packages are unpacked, and not installed, which would start servers."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from ironbridge.kafka.distribution import cache_dir
from tests.servers import Absent

_APT = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root"]


def unpacked(package: str) -> Path:
    """
    The folder in the user's cache that holds a package, and the packages that it needs and this machine has not.

    :raises Absent: there is no archive of Debian to take them from.
    """
    kept = cache_dir() / "debian" / package
    if kept.is_dir():
        return kept
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Absent(f"{package}, and Debian's archive to take it from")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix="fetching-") as folder:
        making = Path(folder) / "all"
        making.mkdir()
        for archive in download(package, Path(folder)):
            subprocess.run(["dpkg", "-x", archive, making], check=True, timeout=120)
        if not kept.is_dir():  # another worker may have been faster
            making.rename(kept)
    return kept


def download(package: str, folder: Path) -> list[Path]:
    """Fetch a package, and those that an installation of it would bring."""
    folder.chmod(0o755)
    asked = [*_APT, "--no-install-recommends", "--print-uris", "install", package]
    listed = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=False)
    if listed.returncode:
        _apt("update", folder=folder)
        listed = subprocess.run(asked, capture_output=True, text=True, timeout=300, check=True)
    names = {line.split()[1].partition("_")[0] for line in listed.stdout.splitlines() if line.startswith("'")}
    _apt("download", *sorted(names | {package}), folder=folder)
    return sorted(folder.glob("*.deb"))


def _apt(*words: str, folder: Path) -> None:
    done = subprocess.run([*_APT, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise Absent(f"what `apt-get {' '.join(words)}` brings ({done.stderr.strip()[-200:]})")


def library_path(*roots: Path) -> str:
    """Where the programs of unpacked packages find their libraries."""
    found = [folder for root in roots for folder in (*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*"))]
    return ":".join(map(str, found))
