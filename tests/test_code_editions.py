"""What an edition depends on: the code of a system, of the kit that it uses, of its entities; and nothing else."""

from __future__ import annotations

import importlib
import json
import py_compile
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from canonical import CareEpisode, Invoice, Person
from canonical.errors import MisconfiguredError
from flows.business_central import BusinessCentralFlow
from flows.dfe_csc import ChildRecords
from ironbridge.runtime import installed, systems
from ironbridge.runtime.editions import bound, edition, modules, name_of
from ironbridge.settings import Settings

HOUSE = Path(__file__).resolve().parents[1]
SHIPPED = {
    "liquidlogic": "adapters.liquidlogic:system",
    "payables": "adapters.payables:system",
    "dfe_csc": name_of(ChildRecords),
    "business_central": name_of(BusinessCentralFlow),
}
_numbers = count(1)

# -- the systems that are shipped --------------------------------------------------------------------------------------

_TOUCH = """
import json, sys
from pathlib import Path
from ironbridge.runtime.editions import edition

codes, files = json.loads(sys.argv[1])
def editions():
    return {name: edition(code, []) for name, code in codes.items()}
before, touched = editions(), {}
for file in files:
    path = Path(file)
    had = path.read_bytes() if path.exists() else None
    path.write_bytes((had or b"") + b"\\n# touched\\n")
    touched[file] = [name for name, each in editions().items() if each != before[name]]
    path.unlink() if had is None else path.write_bytes(had)
print(json.dumps(touched))
"""


@pytest.fixture(scope="module")
def touch(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, list[str]]]:
    """Touches files of a copy of the house, one after the other; tells whose editions each of them changes."""
    copy = tmp_path_factory.mktemp("house")
    for room in ("canonical", "adapters", "flows", "ironbridge"):
        shutil.copytree(HOUSE / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))

    def touch(*files: str) -> dict[str, list[str]]:
        command = [sys.executable, "-c", _TOUCH, json.dumps([SHIPPED, files])]
        done = subprocess.run(command, cwd=copy, env={"PYTHONPATH": str(copy)}, capture_output=True, check=True)
        touched: dict[str, list[str]] = json.loads(done.stdout)
        return touched

    return touch


def test_a_file_changes_the_editions_of_those_whose_outcome_may_depend_on_it_and_no_others(
    touch: Callable[..., dict[str, list[str]]],
) -> None:
    children, finance = ["liquidlogic", "dfe_csc"], ["payables", "business_central"]
    expected = {
        # of the systems themselves
        "adapters/liquidlogic/person.py": ["liquidlogic"],
        "adapters/payables/mapping.py": ["payables"],
        "adapters/kit/unpacking.py": ["payables"],
        "flows/dfe_csc/cohort.py": ["dfe_csc"],
        "flows/business_central/documents.py": ["business_central"],
        # of the kit and of the language
        "adapters/kit/sql.py": ["liquidlogic"],
        "adapters/kit/open_days.py": ["liquidlogic", "payables"],
        "adapters/kit/sql_moments.py": ["liquidlogic"],
        "canonical/children.py": children,
        "canonical/finance.py": finance,
        "canonical/values.py": [*SHIPPED],
        "canonical/entity.py": [*SHIPPED],
        # no outcome depends on these
        "adapters/liquidlogic/world.py": [],
        "adapters/liquidlogic/world_children.py": [],
        "adapters/liquidlogic/README.md": [],
        "adapters/liquidlogic/tests/test_liquidlogic.py": [],
        "adapters/liquidlogic/cases/a_new_case.py": [],
        "adapters/payables/world.py": [],
        "flows/dfe_csc/sandbox.py": [],
        "flows/dfe_csc/target.py": [],
        "flows/business_central/wire.py": [],
        "flows/kit/http.py": [],
        "adapters/port.py": [],
        "adapters/engine/pump.py": [],
        "flows/port.py": [],
        "flows/engine/agree.py": [],
        "canonical/__init__.py": [],
        "canonical/event.py": [],
        "canonical/housing.py": [],
        "ironbridge/runtime/systems.py": [],
    }
    assert touch(*expected) == expected


@pytest.mark.parametrize("name", ["liquidlogic", "payables"])
def test_every_module_of_an_adapter_counts_except_its_world_and_its_tests(name: str) -> None:
    found = {module for module in modules([SHIPPED[name]]) if module.startswith(f"adapters.{name}")}
    files = (HOUSE / "adapters" / name).glob("*.py")
    names = {file.stem for file in files if not file.stem.startswith("world")}
    assert found == {f"adapters.{name}" if each == "__init__" else f"adapters.{name}.{each}" for each in names}


def test_the_editions_of_all_systems_cost_little_at_start() -> None:
    began = time.process_time()
    for code in SHIPPED.values():
        edition(code, [Person, Invoice])
    assert time.process_time() - began < 1.0


def test_the_entities_the_settings_and_pydantic_count(monkeypatch: pytest.MonkeyPatch) -> None:
    code = SHIPPED["liquidlogic"]
    plain = edition(code, [Person])
    assert edition(code, [Person, CareEpisode]) == plain, "their modules are a part of the mapping's code anyhow"
    assert edition(code, [Invoice]) != plain
    assert edition(code, [Person], {"of": "one"}) != edition(code, [Person], {"of": "another"})
    monkeypatch.setattr("ironbridge.runtime.editions.version", lambda _: "99")
    assert edition(code, [Person]) != plain
    assert name_of(installed.adapters()["liquidlogic"].build) == "adapters.liquidlogic.adapter:LiquidlogicAdapter"


# -- settings ----------------------------------------------------------------------------------------------------------

SHELTERED = '''
from datetime import timedelta
from functools import partial
from pydantic import BaseModel, SecretStr
from adapters.port import AdapterSystem, Stream, Sweep
from canonical import Person

class Settings(BaseModel):
    codes: frozenset[str] = frozenset({"one", "two", "three"})
    password: SecretStr = SecretStr("secret")
    path: str = "/drop"
    minutes: int = 5

def person(row, codes):
    return Person(key="council:person:1")

async def pages(after):
    yield

class Council:
    def __init__(self, name, settings):
        self.name, self.settings = name, settings

    def streams(self):
        mapped = partial(person, codes=self.settings.codes)
        return [Stream("people", (Person,), mapped, Sweep(pages), every=timedelta(minutes=self.settings.minutes))]

class Hidden(Council):
    def map(self, row):
        return person(row, self.settings.codes)

    def streams(self):
        return [Stream("people", (Person,), self.map, Sweep(pages))]

class Closed(Hidden):
    def streams(self):
        return [Stream("people", (Person,), lambda row: person(row, self.settings.codes), Sweep(pages))]

system = AdapterSystem(Settings, Council, __name__)
hidden = AdapterSystem(Settings, Hidden, __name__)
closed = AdapterSystem(Settings, Closed, __name__)
'''


@pytest.fixture
def sheltered(package: Package) -> str:
    """An installed package whose mapping needs one of the adapter's settings; its name."""
    package.write("__init__.py", SHELTERED)
    about = package.folder / f"{package.name}-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.name}\nVersion: 1\n")
    points = "\n".join(f"{package.name}_{each} = {package.name}:{each}" for each in ("system", "hidden", "closed"))
    (about / "entry_points.txt").write_text(f"[ironbridge.adapters]\n{points}\n")
    return package.name


def planned(system: str, *others: str, **section: Any) -> list[str]:
    """The editions of an adapter with these settings and of others beside it that have none."""
    sections = {"council": {"system": system, **section}, **{f"beside{n}": {"system": each} for n, each in enumerate(others)}}
    return [plan.edition for plan in systems.adapters(Settings(adapters=sections)).values()]


def test_a_setting_that_a_mapping_needs_maps_the_rows_of_its_adapter_again_and_of_no_other(sheltered: str) -> None:
    system = f"{sheltered}_system"
    before = planned(system, system)
    for other in ({"password": "another"}, {"path": "/elsewhere"}, {"minutes": 1}, {"guard_few": 3}):
        assert planned(system, system, **other) == before, other
    assert planned(system, system, codes=["three", "two", "one"]) == before
    changed, beside = planned(system, system, codes=["one", "two"])
    assert changed != before[0]
    assert beside == before[1]


def test_a_changed_setting_of_a_shipped_adapter_changes_its_rows_or_nothing(tmp_path: Path) -> None:
    """Their mappings are functions of the row alone: what a setting changes is in the row, and so in its digest."""
    sql = {"url": "sqlite:///hdm.db"}
    changes = [
        *({**sql, **more} for more in ({}, {"cin_plan_types": ["X"]}, {"every": 7}, {"people": "everybody"})),
        {"url": "postgresql://somebody.else@host/hdm"},
    ]
    assert len({planned("liquidlogic", **section)[0] for section in changes}) == 1
    files = {"folders": [str(tmp_path)], "layouts": ["erp-invoices"]}
    assert planned("payables", **files) == planned("payables", **files, currency="EUR", every=7)


@pytest.mark.parametrize("kind", ["hidden", "closed"])
def test_a_mapping_whose_settings_nobody_can_see_is_refused_at_the_start(kind: str, sheltered: str) -> None:
    with pytest.raises(MisconfiguredError) as told:
        planned(f"{sheltered}_{kind}")
    assert str(told.value) == (
        "adapters.council: nobody can see what the mapping of its stream `people` depends on. To do: its author makes it a "
        "function of a module, and binds the settings that it needs: `partial(tenant, codes=settings.codes)`"
    )


def test_what_a_mapping_is_bound_to_is_told_in_a_fixed_order_and_without_secrets() -> None:
    told = bound(partial(planned, {"b": {2, 1}, "a": SecretStr("word")}, x=Person))
    assert told == [
        ["tests.test_code_editions:planned", None, None],
        [[["a", "**********"], ["b", [1, 2]]]],
        [["x", "canonical.people:Person"]],
    ]
    with pytest.raises(ValueError, match="object is no plain value"):
        bound(partial(planned, object()))


# -- other people's packages -------------------------------------------------------------------------------------------


class Package:
    """An installed package of a council's own, that can be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"council{next(_numbers)}"

    def write(self, file: str, code: str) -> None:
        path = self.folder / self.name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code.replace("council", self.name))
        importlib.invalidate_caches()

    def edition_with(self, file: str, more: str) -> str:
        """The edition while some code stands at the end of a file."""
        path = self.folder / self.name / file
        had = path.read_text() if path.exists() else ""
        path.write_text(had + more)
        found = self.edition()
        path.write_text(had)
        return found

    def edition(self, code: str = "council:system", **more: Any) -> str:
        return edition(code.replace("council", self.name), [], **more)

    def modules(self, code: str = "council:system") -> set[str]:
        return {name.replace(self.name, "council") for name in modules([code.replace("council", self.name)])}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    monkeypatch.syspath_prepend(str(tmp_path))
    made = Package(tmp_path)
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == made.name]:
        del sys.modules[name]


def test_a_third_party_s_package_counts_as_ours_do(package: Package) -> None:
    package.write("__init__.py", "from .system import made as system\nfrom council.other import other\n")
    package.write("system.py", "import httpx\nfrom . import words, world\nfrom .mapping import map\nmade = object()\n")
    package.write("mapping.py", "from canonical import Person\ndef map(row):\n    from council.late import late\n")
    package.write("words.py", "ONE = 1\n")
    package.write("late.py", "late = 1\n")
    package.write("world.py", "from council import demo\n")
    package.write("demo.py", "")
    package.write("other.py", "other = 1\n")
    package.write("tests/test_it.py", "")
    assert {name for name in package.modules() if name.startswith("council")} == {
        "council.system", "council.words", "council.mapping", "council.late",
    }  # fmt: skip
    assert "canonical.people" in package.modules()
    assert "canonical.finance" not in package.modules()
    before = package.edition()
    for file in ("__init__.py", "other.py", "world.py", "demo.py", "tests/test_it.py", "README.md"):
        assert package.edition_with(file, "# touched") == before, file
    for file in ("system.py", "mapping.py", "words.py", "late.py"):
        assert package.edition_with(file, "# touched") != before, file
    assert package.edition() == before


def test_a_package_that_takes_all_names_of_another_depends_on_all_of_it(package: Package) -> None:
    package.write("__init__.py", "")
    package.write("system.py", "from council.parts import *\nimport canonical\n")
    package.write("parts/__init__.py", "from council.parts.one import one\n")
    package.write("parts/one.py", "one = 1\n")
    found = package.modules("council.system:system")
    assert {"council.parts", "council.parts.one", "canonical", "canonical.finance"} <= found


def test_packages_that_take_a_name_from_one_another_end_somewhere(package: Package) -> None:
    package.write("__init__.py", "from council.a import system\n")
    package.write("a/__init__.py", "from council.b import system\n")
    package.write("b/__init__.py", "from council.a import system\n")
    assert package.modules() <= {"council", "council.a", "council.b"}
    assert package.modules()


def test_a_module_of_a_namespace_and_a_module_in_no_package_count(package: Package) -> None:
    package.write("mapping.py", "from council import words\nsystem = 1\n")
    package.write("words.py", "ONE = 1\n")
    assert package.modules("council.mapping:system") == {"council.mapping", "council.words"}
    before = package.edition("council.mapping:system")
    package.write("words.py", "ONE = 2\n")
    assert package.edition("council.mapping:system") != before

    alone = package.folder / f"{package.name}alone.py"
    alone.write_text("system = 1\n")
    importlib.invalidate_caches()
    before = package.edition("councilalone:system")
    alone.write_text("system = 2\n")
    assert package.edition("councilalone:system") != before


def test_a_package_in_an_archive_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def packed(words: str) -> str:
        name = f"council{next(_numbers)}"
        archive = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("packed/__init__.py", "from packed.words import ONE\nsystem = ONE\n")
            file.writestr("packed/words.py", words)
        monkeypatch.syspath_prepend(str(archive))
        assert set(modules(["packed:system"])) == {"packed", "packed.words"}
        found = edition("packed:system", [])
        for module in [each for each in sys.modules if each.partition(".")[0] == "packed"]:
            del sys.modules[module]
        return found

    assert packed("ONE = 1\n") == packed("ONE = 1\n")
    assert packed("ONE = 1\n") != packed("ONE = 2\n")


def test_compiled_code_counts_and_leads_nowhere(package: Package) -> None:
    package.write("__init__.py", "from council import fast\nsystem = fast\n")

    def compiled(code: str) -> str:
        package.write("fast.py", code)
        source = package.folder / package.name / "fast.py"
        py_compile.compile(str(source), str(source.with_suffix(".pyc")), doraise=True)
        source.unlink()
        importlib.invalidate_caches()
        return package.edition()

    assert compiled("ONE = 1\n") != compiled("ONE = 2\n")
    assert package.modules() == {"council", "council.fast"}


def test_code_that_cannot_be_found_is_no_error(package: Package) -> None:
    package.write("__init__.py", "def system():\n    from council.missing import a\n    import council.missing.too\n")
    assert package.modules() == {"council", "council.missing", "council.missing.too"}
    assert package.edition("council.nowhere:system") == package.edition("council.nowhere:system")
