"""What the image is made of: locked by hash, in step with pyproject.toml, audited, and never green for want of data."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from security.secrets import found

ROOT = Path(__file__).parent.parent
IMAGE = ROOT / "deploy" / "image"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def locked(name: str) -> dict[str, tuple[str, int]]:
    """Each package of a lock with its version and how many hashes it has."""
    text = (IMAGE / f"{name}.lock").read_text("utf-8")
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.M)[1:]
    found = [
        (re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", entry), entry.count("--hash=sha256:")) for entry in entries
    ]
    assert all(match for match, _ in found), f"{name}.lock: an entry is not of the form NAME==VERSION"
    return {canonicalize_name(match[1]): (match[2], hashes) for match, hashes in found if match}


EXTRAS = ["mariadb", "oracle", "pgp", "sftp", "store", "soap", "tables", "figures"]


@pytest.mark.parametrize(("name", "extras"), [("plain", EXTRAS), ("sqlserver", [*EXTRAS, "sqlserver"])])
def test_the_images_lock_is_in_step_with_pyproject(name: str, extras: list[str]) -> None:
    project, had = PROJECT["project"], locked(name)
    wanted = project["dependencies"] + [each for extra in extras for each in project["optional-dependencies"][extra]]
    for requirement in map(Requirement, [each for each in wanted if not each.startswith("ironbridge[")]):
        version, _ = had.get(canonicalize_name(requirement.name), ("", 0))
        assert version, f"{requirement.name} is not in {name}.lock: run `make lock`"
        assert requirement.specifier.contains(version), f"{name}.lock has {requirement.name} {version}: run `make lock`"


@pytest.mark.parametrize("name", ["plain", "sqlserver", "build"])
def test_every_package_of_a_lock_has_its_hashes(name: str) -> None:
    had = locked(name)
    assert len(had) >= 4
    assert [package for package, (_, hashes) in had.items() if not hashes] == []


def test_both_images_have_the_same_of_what_both_have() -> None:
    plain, sqlserver = locked("plain"), locked("sqlserver")
    assert plain.items() <= sqlserver.items()
    assert {"pyodbc", "aioodbc"} <= sqlserver.keys() - plain.keys()


def test_the_image_installs_nothing_that_is_not_locked() -> None:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]+)", text)
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)


def test_an_audit_that_reaches_nobody_says_so_and_has_a_status_of_its_own() -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "", "no_proxy": ""}
    nowhere |= {name.lower(): value for name, value in nowhere.items()}
    command = [sys.executable, "-m", "security.audit"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "AUDIT NOT DONE" in done.stderr
    assert "No known" not in done.stdout + done.stderr


def test_the_scan_for_secrets_finds_one(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    key = "-----BEGIN RSA PRIVATE " + "KEY-----"
    (tmp_path / "notes.txt").write_text(f"{key}\nAKIA" + "IOSFODNN7EXAMPLE\n", encoding="utf-8")
    subprocess.run(["git", "add", "notes.txt"], cwd=tmp_path, check=True)
    _, lines = found(tmp_path)
    assert lines == {"notes.txt": ["notes.txt:1: Private Key", "notes.txt:2: AWS Access Key"]}
