"""Every shared input file is read by an adapter, or refused for a reason that is named here, or is no input of a council's."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from ironbridge.runtime import systems
from ironbridge.settings import Settings

READ_BY = {
    "finance/bacs": "bacs",
    "finance/council-spend": "payables",
    "finance/iso20022": "iso20022",
    "finance/ubl": "ubl",
    "social-care/annex-a": "annex_a",
    "social-care/cin-census": "cin_census",
    "social-care/cld": "cld",
    "social-care/school-census": "school_census",
    "social-care/ssda903": "ssda903",
}
"""By folder: the adapter that is given its files here."""

ELSEWHERE = {
    "health/hl7v2": "adapters/hospital/tests/test_hospital.py",
    "mainframe": "adapters/mainframe_ledger/tests/test_mainframe_ledger.py",
}
"""Messages that are sent, and files that are read by a copybook beside them: these tests account for each."""

NO_INPUT = {
    "finance/iso20022/template.001.03.csv": "what a converter fills in to make pain.001: no bank and no ledger writes it",
    "health/fhir-pds": "answers of a national service to a question: no council's system writes them",
    "social-care/cld/cld_r2_fields.csv": "a list of the fields of the return",
    "social-care/ssda903/placed_for_adoption_errors.csv": "wrong on purpose: adapters/ssda903/tests/test_ssda903.py",
    "standards": "schemas, field lists and an example of a standard",
}

BESIDES = {
    "payables": {
        "layouts": ["calderdale-card", "calderdale-spend", "darlington-spend", "gateshead-agresso", "hyndburn-erp",
                    "hyndburn-ledger", "lancashire-fire", "leeds-spend", "salford-sap", "wakefield-card"],
    },
}  # fmt: skip
"""The settings that an adapter needs besides its folder."""

REFUSED = {"pain.001.001.03.xml": "says NbOfTxs is 2, and holds 4"}
"""The files that are refused, and why."""


def within(path: str, those: dict[str, str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in those)


def files(shared: Path) -> list[str]:
    data = shared / "data"
    found = [path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()]
    return sorted(path for path in found if path != "README.md")


@pytest.mark.shared
def test_every_shared_file_is_described_and_has_somebody_who_reads_it_or_a_reason_why_not(shared: Path) -> None:
    described = set(re.findall(r"^\| (\S+/\S+) \|", (shared / "data/README.md").read_text(), re.M))
    assert set(files(shared)) == described
    assert [path for path in files(shared) if not any(within(path, each) for each in (READ_BY, ELSEWHERE, NO_INPUT))] == []


@pytest.mark.shared
@pytest.mark.parametrize("folder", READ_BY)
async def test_an_adapter_reads_every_file_of_a_folder_or_says_why_not(shared: Path, tmp_path: Path, folder: str) -> None:
    ours = [path for path in files(shared) if path.startswith(f"{folder}/") and not within(path, NO_INPUT)]
    for path in ours:
        (tmp_path / Path(path).relative_to(folder)).parent.mkdir(exist_ok=True)
        shutil.copy(shared / "data" / path, tmp_path / Path(path).relative_to(folder))
    section = {"folders": [str(tmp_path)], "glob": ["**/*"], "settle": timedelta(0), **BESIDES.get(READ_BY[folder], {})}
    adapter = systems.adapters(Settings(adapters={READ_BY[folder]: section}))[READ_BY[folder]].adapter
    await adapter.open()
    _, *looked = await adapter.check()
    await adapter.close()
    for path in ours:
        name = Path(path).name
        told = [finding for finding in looked if name in finding.what or Path(path).stem in finding.what]
        assert told, f"{name} is read by no stream"
        why = REFUSED.get(name)
        assert all(finding.well if why is None else why in finding.what for finding in told), [f.what for f in told]
