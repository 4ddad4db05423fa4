"""An entity of an installed package: known everywhere without a line of ours, and no danger to the others."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

ALLOTMENT = '''
"""Allotments of a council."""

from typing import Annotated, ClassVar

from canonical.entity import IDENTIFYING, PLAIN, Entity, Part
from canonical.key import Key
from canonical.values import Code, Day, Text


class Address(Part):
    """An address as the parks system writes it."""

    line: Annotated[Text, IDENTIFYING]


class Allotment(Entity):
    """A tenant grows vegetables on an allotment of the council."""

    type_name: ClassVar[str] = "allotment"
    version: ClassVar[int] = 2
    standard: ClassVar[str] = "the council's own words"
    owned_by: ClassVar[str] = "tenant"
    known_by: ClassVar[tuple[str, ...]] = ("agreement",)

    tenant: Annotated[Key, PLAIN]
    agreement: Annotated[Code, PLAIN]
    plot: Annotated[Address, IDENTIFYING]
    start_date: Annotated[Day | None, PLAIN] = None


PARKS = (Allotment,)
'''

KNOWN = """
import asyncio, json, sys
from datetime import date
from pathlib import Path

from adapters.port import Page, Record, Stream, Sweep
from adapters.testing import Bench
from canonical import ENTITIES
from council_parks.entities import Address, Allotment
from flows.port import Fact, Facts
from ironbridge.operate import insight
from ironbridge.store import open_store
from tests.agreement import World

folder = Path(sys.argv[1])
allotment = Allotment(key="parks:allotment:7", tenant="parks:person:1", agreement="T 00/7", plot=Address(line="1 Mill Lane"))


class Parks:
    name = "parks"

    def streams(self):
        return [Stream("allotments", (Allotment,), lambda row: allotment, Sweep(self.pages))]

    async def pages(self, after):
        yield Page([Record(allotment.key, (7,), (7,))], (7,))

    async def open(self): ...

    async def close(self): ...


async def told():
    [event] = await Bench(Parks()).read()
    store = await open_store(f"sqlite+aiosqlite:///{folder / 'state.sqlite3'}")
    await World(store).arrive(event)
    found = await insight.find(store, "t00/7")
    story = await insight.story(store, allotment.key)
    await store.close()
    return event, found, story.versions[0].fields


event, found, shown = asyncio.run(told())
facts = Facts([Fact("allotment", allotment.key, allotment.owner, 1, allotment.to_bytes())], date(2026, 11, 26))
print(json.dumps({
    "listed": list(ENTITIES)[-1], "fact": facts.one(Allotment) == allotment, "found": found, "shown": shown,
    "owner": event.owner, "type": event.type, "schema": dict(event.headers())["ce_dataschema"].decode(),
    "faults": [str(fault) for fault in ENTITIES.faults],
}))
"""


def installed(site: Path, package: str, points: dict[str, str], **modules: str) -> None:
    """A distribution as pip leaves it: the package, and a .dist-info that names its entry points."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").touch()
    for name, source in modules.items():
        (site / package / f"{name}.py").write_text(source, "utf-8")
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package.replace('_', '-')}\nVersion: 1.0\n", "utf-8")
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[ironbridge.entities]", *lines, ""]), "utf-8")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    installed(tmp_path / "site", "council_parks", {"parks": "council_parks.entities:PARKS"}, entities=ALLOTMENT)
    return tmp_path / "site"


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{ROOT}:{site}", "PATH": "/usr/bin:/bin", "COLUMNS": "400"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=site, env=environment, capture_output=True, text=True, check=False
    )


def said(site: Path, program: str, *arguments: str) -> Any:
    done = run(site, "-c", program, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_entity_of_an_installed_package_is_known_to_every_part(site: Path, tmp_path: Path) -> None:
    assert said(site, KNOWN, str(tmp_path)) == {
        "listed": "allotment",
        "fact": True,
        "found": ["parks:allotment:7"],
        "shown": {"key": "parks:allotment:7", "tenant": "parks:person:1", "agreement": "T 00/7", "plot": {"line": "•••"}},
        "owner": "parks:person:1",
        "type": "ironbridge.allotment.v2",
        "schema": "urn:ironbridge:schema:allotment:v2",
        "faults": [],
    }


def test_its_contract_is_exported_with_ours_and_kept_in_its_own_package(site: Path, tmp_path: Path) -> None:
    exported = run(site, "-m", "ironbridge", "contracts", "export", str(tmp_path / "all"))
    assert exported.returncode == 0, exported.stderr
    assert {"allotment.v2.json", "person.v1.json", "asyncapi.json"} <= {file.name for file in (tmp_path / "all").iterdir()}
    schema = json.loads((tmp_path / "all" / "allotment.v2.json").read_text("utf-8"))
    assert schema["$id"] == "urn:ironbridge:schema:allotment:v2"
    document = json.loads((tmp_path / "all" / "asyncapi.json").read_text("utf-8"))
    assert document["channels"]["allotment"]["address"] == "canonical.allotment"
    parts = document["components"]["schemas"]
    assert "postcode" in parts["Address"]["properties"], "ours keeps its name"
    assert list(parts["allotment.Address"]["properties"]) == ["line"]
    assert parts["Allotment"]["properties"]["plot"]["$ref"] == "#/components/schemas/allotment.Address"

    checked = run(site, "-m", "ironbridge", "contracts", "check")
    assert checked.stdout == "No released contract is broken.\n", "it has released none yet"
    kept = site / "council_parks" / "contracts"
    kept.mkdir()
    checked = run(site, "-m", "ironbridge", "contracts", "check")
    assert checked.stdout.splitlines()[0] == (
        "allotment.v2.json is missing: run `ironbridge contracts export` and commit it"
    )


def test_the_example_subscriber_follows_it_unless_it_is_told_otherwise(site: Path) -> None:
    program = "from examples.subscribe import ENTITIES; print('allotment' in ENTITIES)"
    assert run(site, "-c", program).stdout == "True\n"


MEADOW = ALLOTMENT.replace('"allotment"', '"meadow"')
SPOILT = {
    "raises": ("raise RuntimeError('no')", "cannot be imported (RuntimeError)"),
    "is_none": ("PARKS = 7", "int is no canonical.Entity"),
    "is_taken": (ALLOTMENT.replace('"allotment"', '"person"'), "Allotment has the type_name `person`, which is taken by"),
    "has_no_name": (ALLOTMENT.replace('"allotment"', '"Allotment 1"'), "Allotment has no type_name of small letters"),
    "is_bare": (MEADOW.replace("Annotated[Code, PLAIN]", "Code"), "Allotment has a field without a classification: `agreement`"),
    "has_no_check": (
        MEADOW.replace("Annotated[Code, PLAIN]", "Annotated[range, PLAIN]"),
        "Allotment has a field that cannot be checked (PydanticSchemaGenerationError)",
    ),
    "has_no_owner": (MEADOW.replace('= "tenant"', '= "landlord"'), "Allotment is owned by `landlord`, which is none of its"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_an_entity_that_cannot_be_taken_is_left_out_and_every_other_one_works(site: Path, name: str) -> None:
    source, why = SPOILT[name]
    installed(site, "spoilt", {"spoilt": "spoilt.entities:PARKS"}, entities=source)
    program = (
        "import json; from canonical import ENTITIES; "
        "print(json.dumps([[str(f) for f in ENTITIES.faults], 'allotment' in ENTITIES, ENTITIES['person'].__module__]))"
    )
    faults, known, person = said(site, program)
    assert (known, person) == (True, "canonical.people")
    [fault] = faults
    assert fault.startswith("entry point `spoilt` of spoilt in ironbridge.entities: spoilt.entities:PARKS: ")
    assert why in fault
    assert fault.endswith("To do: mend that package, or uninstall it")


def test_our_own_entities_are_known_without_a_look_at_other_packages(site: Path) -> None:
    installed(site, "spoilt", {"spoilt": "spoilt.entities:PARKS"}, entities="raise RuntimeError('no')")
    asked = "from canonical import ENTITIES; ENTITIES['person'], 'invoice' in ENTITIES"
    program = f"import sys; {asked}; print('spoilt' in sys.modules)"
    assert run(site, "-c", program).stdout == "False\n"
