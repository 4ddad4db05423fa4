"""SAP CAP, an OData server that is not ours: its packages from npm, unpacked once into the user's cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ironbridge.kafka.distribution import cache_dir
from tests.servers import Absent

# sql.js is SQLite in WebAssembly: nothing has to be compiled.
_PACKAGES = {"@sap/cds": "9.9.3", "@cap-js/sqlite": "2.4.2", "express": "4.22.1", "sql.js": "1.13.0"}
_SERVICE = {
    "requires": {"auth": "dummy", "db": {"kind": "sqlite", "driver": "sql.js", "credentials": {"url": ":memory:"}}},
    "runtime": {"patch_as_upsert": True},
}


def _installed() -> Path:
    """The packages; no script of theirs is run."""
    versions = "-".join(version for _, version in sorted(_PACKAGES.items()))
    kept = cache_dir() / f"cap-{versions}"
    if not kept.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise Absent("npm, to take SAP CAP from")
        making = kept.with_suffix(f".{os.getpid()}")
        making.mkdir(parents=True)
        (making / "package.json").write_text(json.dumps({"private": True, "dependencies": _PACKAGES}))
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run([npm, "install", *options], cwd=making, check=True, timeout=300)
        making.rename(kept)
    return kept


@contextmanager
def cap(folder: Path, model: str) -> Iterator[str]:
    """Run a CAP server of a model (CDS) in an empty folder: its address."""
    node = shutil.which("node")
    if node is None:
        raise Absent("node, to run SAP CAP")
    packages = _installed() / "node_modules"
    (folder / "srv").mkdir()
    (folder / "srv" / "model.cds").write_text(model)
    (folder / "package.json").write_text(json.dumps({"private": True, "cds": _SERVICE}))
    (folder / "node_modules").symlink_to(packages)
    command = [node, packages / "@sap" / "cds" / "bin" / "serve.js", "--port", "0", "--in-memory"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            yield _address(server)
        finally:
            server.terminate()


def _address(server: subprocess.Popen[str]) -> str:
    assert server.stdout
    said = []
    for line in server.stdout:
        said.append(line)
        if "server listening on" in line:
            return line.partition("'")[2].partition("'")[0].replace("localhost", "127.0.0.1")
    raise AssertionError(f"SAP CAP does not start: {''.join(said)[-2000:]}")
