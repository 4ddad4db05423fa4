"""Which systems there are, and what a section has to say that asks for one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from canonical.errors import MisconfiguredError
from ironbridge.demo import legacy
from ironbridge.runtime import installed, systems
from ironbridge.settings import Settings
from security import house


def refused(name: str, **section: Any) -> str:
    with pytest.raises(MisconfiguredError) as told:
        systems.adapters(Settings(adapters={name: section}))
    return str(told.value)


def test_a_section_of_the_ledger_adapter_is_told_that_it_is_called_payables_now() -> None:
    assert refused("ledger", folders=["drop"]) == (
        "adapters.ledger: the system `ledger` is called `payables` now. To do: write `system = \"payables\"` in it; "
        "`ledger` stays the source in every key, and other settings go on naming it (`vendor_numbers_of`). "
        "If it has never run, call it [adapters.payables] instead"
    )
    assert refused("schools", system="ledger") == (
        "adapters.schools: the system `ledger` is called `payables` now. To do: write `system = \"payables\"` in it"
    )


def test_an_adapter_keeps_its_name_and_so_its_keys_when_its_system_has_a_new_one(tmp_path: Path) -> None:
    given = {"system": "payables", "folders": [str(tmp_path)], "layouts": ["erp-invoices"]}
    plan = systems.adapters(Settings(adapters={"ledger": given}))["ledger"]
    assert plan.adapter.name == "ledger"


def test_an_entry_point_that_names_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "odd-1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (installed / "entry_points.txt").write_text("[ironbridge.adapters]\nodd = json:dumps\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert refused("odd") == (
        "adapters.odd: its entry point names no `adapters.port.AdapterSystem`. "
        "To do: its package was made for another release of Ironbridge: install the one for this release"
    )


# -- invented systems ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(legacy.sections(Path())))
async def test_a_world_is_made_once_and_can_be_worked_in(name: str, tmp_path: Path) -> None:
    section = {name: legacy.sections(tmp_path)[name]}
    made = await legacy.make(section, {name: 5}, seed=1)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert len(made) == 1
    assert before
    await legacy.make(section, {name: 5}, seed=1)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    assert len(await legacy.change(section, seed=1)) > 1


@pytest.mark.parametrize("word", ["liquidlogic", "=5", "liquidlogic=0", "liquidlogic=-1", "liquidlogic=many"])
def test_a_size_that_is_none_is_refused(word: str) -> None:
    with pytest.raises(MisconfiguredError, match="name a system and a number: liquidlogic=400"):
        legacy.sizes_of([word])


def test_the_demonstration_plays_one_system_of_a_sort_unless_another_is_asked_for(tmp_path: Path) -> None:
    by_itself, every = legacy.played(tmp_path), legacy.sections(tmp_path)
    assert set(by_itself) == {"liquidlogic", "payables"}
    others = every.keys() - by_itself.keys()
    assert others > {"mosaic", "universal_housing"}
    assert legacy.played(tmp_path, others) == every
    assert legacy.played(tmp_path, ["mosaic"]).keys() == {*by_itself, "mosaic"}


async def test_a_size_of_a_system_that_has_no_world_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    sections = legacy.sections(tmp_path / "world")
    there = "liquidlogic, mainframe_ledger, mosaic, payables"
    with pytest.raises(MisconfiguredError, match=rf"system is called housing.*there are: .*{there}"):
        await legacy.make(sections, {"housing": 5}, seed=1)
    assert not (tmp_path / "world").exists()


# -- a system is a folder and a line -------------------------------------------------------------------------------

ROOT = Path(__file__).parents[1]
PACKAGES = ("canonical", "adapters", "flows", "ironbridge", "security")
SHIPPED = house.systems()
LOOK_ROUND = """
import asyncio, json, pkgutil, sys, tempfile
from importlib import import_module
from pathlib import Path
modules = [m.name for p in sys.argv[1:] for m in pkgutil.walk_packages([p], f"{p}.") if ".migrations." not in m.name]
for name in modules:
    if not name.endswith("__main__"):
        import_module(name)
from ironbridge.cli.sample import sample
from ironbridge.demo import legacy
from ironbridge.demo.world import clouds, settings_of
from ironbridge.runtime import installed, systems
from security import house, properties
async def reached():
    with tempfile.TemporaryDirectory() as folder:
        async with clouds(Path(folder), targets=[n for n, t in installed.targets().items() if t.world]) as world:
            return {name: type(plan.build()).__name__ for name, plan in systems.flows(settings_of(world)).items()}
told = {"modules": len(modules), "sample": sample(), "systems": house.systems(), "fuzzed": list(properties.targets())}
import canonical
told |= {"from": canonical.__file__, "worlds": list(legacy.sections(Path("nowhere"))), "clouds": asyncio.run(reached())}
print(json.dumps(told))
"""
WARM = """
import json, os, sys, traceback, warnings
import aiohttp, aiokafka, asyncpg, faststream.kafka, httpx, jinja2, lxml.etree, pydantic_settings, pytest, rich, typer, uvicorn
import opentelemetry.sdk.metrics, opentelemetry.sdk.trace, sqlalchemy.dialects.postgresql.asyncpg, starlette.applications, stdnum
for line in sys.stdin:
    asked = json.loads(line)
    if child := os.fork():
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    out = os.open(asked["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.chdir(asked["folder"])
    sys.path[:0], sys.argv = asked["path"], asked["argv"]
    warnings.simplefilter("error")
    try:
        exec(asked["code"], {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)
"""
TENANTS = '''
"""Tenants of an invented housing system."""
from pathlib import Path
from pydantic import BaseModel
from adapters.port import Adapter, AdapterSystem, World

class TenantsSettings(BaseModel):
    """The section of a housing system."""
    folder: Path

def build(name: str, settings: TenantsSettings) -> Adapter:
    raise NotImplementedError

async def nothing(settings: TenantsSettings, *numbers: int) -> str:
    return ""

def world() -> World[TenantsSettings]:
    return World("tenants", 9, lambda folder: {"folder": str(folder)}, nothing, nothing)

system = AdapterSystem(TenantsSettings, build, __name__, world)
'''


SHELF = '''
"""Suppliers as files in boxes of an invented shelf, which speaks no HTTP."""
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote
from pydantic import BaseModel
from canonical import Supplier
from flows.port import Absent, Confirmed, Document, Grouping, Held, Limits, Urgency
from flows.systems import CloudWorld, FlowSystem, TargetSystem

class ShelfSettings(BaseModel):
    """The section of a shelf."""
    folder: Path

class SuppliersSettings(BaseModel):
    """The flow has none."""

class Suppliers:
    entities = (Supplier,)
    grouping = Grouping.OWNER
    settings = None

    def __init__(self, name, *_):
        self.name = name

    def desired(self, subject, facts):
        supplier = facts.one(Supplier)
        return Document("box", quote(subject, safe=""), {"name": supplier.name}) if supplier else None

    def urgency(self, entity):
        return Urgency.USUAL

class Shelf:
    limits = Limits(batch=10, concurrency=1, requests=1000, window=1.0)

    def __init__(self, name, settings, _):
        self.name, self.folder = name, settings.folder

    async def write(self, writes):
        for each in writes:
            (self.folder / each.document.number).write_text(each.document.body["name"])
        return [Confirmed(each.document.number) for each in writes]

    async def read_back(self, writes):
        files = [self.folder / each.document.number for each in writes]
        return [Held({"name": file.read_text()}, file.name) if file.exists() else Absent() for file in files]

    async def check(self):
        return []

@asynccontextmanager
async def opened(file, chart):
    file.mkdir(exist_ok=True)
    yield file

def world():
    return CloudWorld(opened, lambda shelf, _: {"folder": str(shelf)}, lambda shelf: {"box": len(list(shelf.iterdir()))})

flow = FlowSystem(target="shelf", settings=SuppliersSettings, build=Suppliers)
system = TargetSystem(package=__name__, settings=ShelfSettings, build=Shelf, flow=flow, world=world)
'''


class Warm:
    """A process that has loaded what others have written, and nothing of ours: it forks for each piece of code that it runs."""

    def __init__(self, folder: Path) -> None:
        self.out = folder / "out"
        self.process = subprocess.Popen([sys.executable, "-c", WARM], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        cwd=folder)  # fmt: skip

    def run(self, code: str, *argv: str, folder: Path, path: list[str]) -> str:
        """What some code prints in a folder, with more folders to import from."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"code": code, "argv": ["-c", *argv], "folder": str(folder), "path": path, "out": str(self.out)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        status, printed = self.process.stdout.readline(), self.out.read_text("utf-8")
        assert status == "0\n", printed
        return printed


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    warm = Warm(tmp_path_factory.mktemp("warm"))
    yield warm
    with warm.process:
        assert warm.process.stdin is not None
        warm.process.stdin.close()


class Tree:
    """A copy of the repository, as it stands when somebody has removed a system, or added one."""

    def __init__(self, place: Path) -> None:
        self.root = place / "tree"
        for package in PACKAGES:
            shutil.copytree(ROOT / package, self.root / package)  # what is compiled already is taken along
        self.project = self.root / "pyproject.toml"
        self.project.write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")

    def run(self, *command: str | Path) -> str:
        """What a command prints here."""
        path = {"PYTHONPATH": os.pathsep.join(self.path()), "PYTHONWARNINGS": "error"}
        done = subprocess.run(
            command, cwd=self.root, env=os.environ | path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def path(self) -> list[str]:
        """Where to import from, so that the installed package has the entry points of this pyproject.toml."""
        groups = tomllib.loads(self.project.read_text("utf-8"))["project"]["entry-points"]
        lines = [line for group, points in groups.items() for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))]
        installed = self.root / "installed" / "ironbridge-0.1.0.dist-info"
        installed.mkdir(parents=True, exist_ok=True)
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: ironbridge\nVersion: 0.1.0\n")
        (installed / "entry_points.txt").write_text("\n".join(lines))
        return [str(installed.parent), str(self.root)]

    def holds(self, warm: Warm) -> dict[str, Any]:
        """Check that all of it can be imported and that the import rules hold; what can be found in it."""
        assert "0 broken" in self.run(Path(sys.executable).with_name("lint-imports"), "--no-cache")
        told: dict[str, Any] = json.loads(warm.run(LOOK_ROUND, *PACKAGES, folder=self.root, path=self.path()))
        assert told["modules"] > 100
        assert told["from"] == str(self.root / "canonical" / "__init__.py")
        return told


@pytest.mark.parametrize("system", SHIPPED)
def test_a_system_is_removed_with_its_folder_and_the_line_of_its_entry_point(system: str, tmp_path: Path, warm: Warm) -> None:
    tree, (house_of, _, name) = Tree(tmp_path), system.partition(".")
    shutil.rmtree(tree.root / system.replace(".", "/"))
    lines = tree.project.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if f'= "{system}:' not in line and f'= "{system}.' not in line]
    assert f'{name} = "{system}:system"\n' in lines
    assert len(kept) == len(lines) - len([line for line in lines if system in line]), "nothing else names it"
    tree.project.write_text("".join(kept), "utf-8")
    told = tree.holds(warm)
    assert f"[{'adapters' if house_of == 'adapters' else 'targets'}.{name}]" not in told["sample"]
    assert told["systems"] == [each for each in house.systems() if each != system]
    assert name not in told["worlds"]
    assert told["clouds"].keys() == {each for each, target in installed.targets().items() if target.world} - {name}


def test_a_system_is_added_with_its_folder_and_a_line_and_everything_finds_it(tmp_path: Path, warm: Warm) -> None:
    tree = Tree(tmp_path)
    folder = tree.root / "adapters" / "tenants"
    (folder / "tests").mkdir(parents=True)
    (folder / "__init__.py").write_text(TENANTS)
    (folder / "settings.sample.toml").write_text('[adapters.tenants]\nfolder = "/drop"\n')
    (folder / "tests" / "properties.py").write_text(
        "from security.properties import Target\n"
        'TARGETS = {"tenants_file": Target(lambda data: None, lambda seed: [bytes([seed])])}\n'
    )
    heading = '[project.entry-points."ironbridge.adapters"]\n'
    text = tree.project.read_text("utf-8")
    tree.project.write_text(text.replace(heading, f'{heading}tenants = "adapters.tenants:system"\n'), "utf-8")
    told = tree.holds(warm)
    assert '# [adapters.tenants]\n# folder = "/drop"' in told["sample"]
    assert "adapters.tenants" in told["systems"]
    assert "tenants" in told["worlds"]
    assert "tenants_file" in told["fuzzed"]


def test_the_demonstration_plays_without_a_cloud_that_was_removed_and_with_one_that_was_added(
    tmp_path: Path, warm: Warm
) -> None:
    tree = Tree(tmp_path)
    shutil.rmtree(tree.root / "flows" / "business_central")
    shelf = tree.root / "flows" / "shelf"
    shelf.mkdir()
    (shelf / "__init__.py").write_text(SHELF)
    (shelf / "settings.sample.toml").write_text('[targets.shelf]\nfolder = "/shelf"\n')
    text = tree.project.read_text("utf-8")
    line = 'business_central = "flows.business_central:system"\n'
    assert line in text
    tree.project.write_text(text.replace(line, 'shelf = "flows.shelf:system"\n'), "utf-8")
    held = {"dataverse": "Contacts", "dfe_csc": "ChildRecords", "fhir": "CareRecords", "shelf": "Suppliers"}
    assert tree.holds(warm)["clouds"] == held
    sizes = ["--size", "liquidlogic=5", "--size", "payables=5"]
    printed = tree.run(sys.executable, "-m", "ironbridge", "demo", "--data", tmp_path / "demo", "--no-traces", *sizes,
                       "--target", "dataverse")  # fmt: skip
    assert "What dfe_csc holds" in printed
    assert "What shelf holds" in printed
    assert printed.count("agrees") == 6, printed  # contacts, children and boxes, after the first load and after the change


def test_nothing_outside_an_adapters_folder_imports_it_but_the_torture_and_the_benchmarks() -> None:
    """These two measure the very systems that they name, and know how to spoil them."""
    shipped = [each for each in SHIPPED if each.startswith("adapters.")]
    imports = re.compile(rf"^\s*(?:from|import) ({'|'.join(map(re.escape, shipped))})\b", re.M)
    found = [
        f"{file.relative_to(ROOT)} imports {named}"
        for folder in (*PACKAGES, "tests", "examples", "deploy")
        for file in sorted((ROOT / folder).rglob("*.py"))
        for named in imports.findall(file.read_text("utf-8"))
        if not file.is_relative_to(ROOT / named.replace(".", "/")) and not file.is_relative_to(ROOT / "tests" / "torture")
    ]
    assert found == []
