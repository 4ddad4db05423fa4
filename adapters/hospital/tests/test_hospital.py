"""A hospital's messages over MLLP, from somebody else's client: each event as a case, the ten real files, the suite."""

import re
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from adapters.hospital import HospitalAdapter, HospitalSettings, system
from adapters.hospital.world import Hospital
from adapters.testing import Bench, Faults
from adapters.testing.adt_suite import AdtSuite, Outbox, held, outbox, pid, play, read_all, written
from canonical.errors import MisconfiguredError, UnavailableError

CASES = sorted((Path(__file__).resolve().parents[1] / "cases").glob("*.toml"))


def settings(folder: Path, **given: Any) -> HospitalSettings:
    return HospitalSettings(port=0, url=SecretStr(f"sqlite:///{folder / 'register.db'}"), **given)


@pytest.fixture
async def hospital(tmp_path: Path) -> AsyncIterator[tuple[HospitalAdapter, Outbox]]:
    adapter = HospitalAdapter("hospital", settings(tmp_path), wait=0.2)
    async with outbox(adapter) as sending:
        yield adapter, sending


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
async def test_a_case_comes_out_as_written(file: Path, tmp_path: Path) -> None:
    case = tomllib.loads(file.read_text("utf-8"))
    await play(HospitalAdapter("hospital", settings(tmp_path, **case.get("settings", {})), wait=0.2), case)


# -- the files of others -------------------------------------------------------------------------------------------

STAY = {
    "person": "hospital:person:PATID1234",
    "number": "40007716",
    "hospital": "HOMERTON UNIVER",
    "patient_class": "P",
    "admission_type": "E",
    "admission_source": "NHS Provider-General (inc.A&E-this Hosp)",
    "admission_date": "2015-02-08",
    "admitted": "2015-02-08T10:24:19Z",
    "service": "SUR",
    "consultant": "Dr. Mohammed Alaz",
    "consultant_code": "1122334",
    "wards": [
        {"start": "2015-02-08T10:24:19Z", "ward": "HUH AE OMU", "room": "OMU B", "bed": "Bed 03", "site": "HOMERTON UNIVER"}
    ],
}
LATER = STAY | {"wards": [{n: v for n, v in STAY["wards"][0].items() if n != "start"}]}  # type: ignore[index]
DISCHARGED = {
    "discharge_date": "2015-02-09",
    "discharged": "2015-02-09T10:24:19Z",
    "discharge_method": "Admitted as Inpatient",
    "discharge_destination": "22",
}
PERSON = {
    "names": [{"given": "ADAM", "family": "EVERYMAN", "title": "Dr."}, {"family": "Josh"}],
    "birth_date": "1988-08-18",
    "death_date": "2008-08-25",
    "sex": "M",
    "identifiers": [{"system": "hospital", "value": "PATID1234"}],
    "addresses": [{"lines": ["1000 Hospital Lane", "Ste. 123"], "town": "Ann Arbor", "kind": "M"}],
    "contacts": [
        {"system": "phone", "value": "78788788", "use": "home"},
        {"system": "phone", "value": "12121212", "use": "home"},
        {"system": "phone", "value": "7777", "use": "work"},
        {"system": "phone", "value": "1111", "use": "work"},
    ],
    "restricted": False,
}
MERGED = {
    "names": [{"given": "Test", "family": "Test"}],
    "birth_date": "2018-02-05",
    "sex": "F",
    "contacts": [{"system": "phone", "value": "(111)111-1111", "use": "home"}],
    "restricted": False,
}


def survivor(number: str, ended: str, line: str) -> dict[str, Any]:
    known_as = [{"system": "hospital", "value": number}, {"system": "merged", "value": ended}]
    return MERGED | {"identifiers": known_as, "addresses": [{"lines": [line], "town": "Raleigh"}]}


EXPECTED: dict[str, dict[str, Any]] = {
    "ADT-A01-01": {"person": PERSON, "stay": STAY},
    "ADT-A01-02": {"person": PERSON, "stay": STAY},
    "ADT-A03-01": {"person": PERSON, "stay": LATER | DISCHARGED},
    "ADT-A03-02": {"person": PERSON, "stay": LATER | DISCHARGED},
    "ADT-A08-02": {"person": PERSON, "stay": LATER},
    "ADT-A11-02": {"person": PERSON},  # a stay that nobody knew is cancelled
    "ADT-A13-01": {"person": PERSON, "stay": LATER},
    "ADT-A28-02": {"person": PERSON},
    "ADT-A31-02": {"person": PERSON},
}


def real(shared: Path, name: str) -> str:
    return (shared / "data" / "health" / "hl7v2" / f"{name}.hl7").read_text("utf-8")


@pytest.mark.shared
async def test_every_real_message_is_read_with_the_right_values(shared: Path, tmp_path: Path) -> None:
    names = sorted(file.stem for file in (shared / "data" / "health" / "hl7v2").glob("*.hl7"))
    assert names == [*EXPECTED, "ADT-A40-02"]
    for name in names:
        (tmp_path / name).mkdir()
        adapter = HospitalAdapter("hospital", settings(tmp_path / name), wait=0.2)
        async with outbox(adapter) as sending:
            bench = Bench(adapter)
            await read_all(bench, sending, [real(shared, name)])
        found = {key.split(":", 1)[1]: state for key, state in held(bench).items()}
        if name == "ADT-A40-02":
            merged = {"12345": ("56789", "123 Any Street"), "145": ("569", "123 Street")}
            wanted = {f"person:{number}": survivor(number, *rest) for number, rest in merged.items()}
        else:
            wanted = {"person:PATID1234": EXPECTED[name]["person"]}
            wanted |= {"hospital-stay:40007716": EXPECTED[name]["stay"]} if "stay" in EXPECTED[name] else {}
        for key in found.keys() | wanted.keys():
            assert found.get(key) == wanted.get(key), f"{name}: {key}"
        assert sending.codes == ["AA"], name
        assert {each.field for each in bench.problems().values()} == {"ADT.PID-11.5"}, name  # American postcodes


@pytest.mark.shared
async def test_the_real_messages_in_their_order_are_all_accepted(
    shared: Path, hospital: tuple[HospitalAdapter, Outbox]
) -> None:
    adapter, sending = hospital
    bench = Bench(adapter)
    await read_all(bench, sending, [real(shared, name) for name in [*EXPECTED, "ADT-A40-02"]])
    assert sending.codes == ["AA"] * 10
    told = held(bench)
    assert told.keys() == {*(f"hospital:person:{n}" for n in ("PATID1234", "12345", "145")), "hospital:hospital-stay:40007716"}
    assert told["hospital:hospital-stay:40007716"] is None  # A11 came before A13


# -- what an invented hospital sends ----------------------------------------------------------------------------------


async def test_what_a_hospital_sends_twice_is_published_once(hospital: tuple[HospitalAdapter, Outbox]) -> None:
    adapter, sending = hospital
    sent = list(Hospital(seed=3).messages(60))
    assert {message.split("|")[8][4:] for message in sent} >= {"A01", "A02", "A03", "A08", "A11", "A40"}
    bench = Bench(adapter)
    assert await read_all(bench, sending, sent) > 60
    assert not bench.problems()
    assert await read_all(bench, sending, sent[-40:]) == 0  # a sender that went back in its own log
    assert sending.codes == ["AA"] * 100


async def test_a_message_that_is_in_the_register_and_not_in_kafka_is_sent_again_and_published_once(
    hospital: tuple[HospitalAdapter, Outbox],
) -> None:
    adapter, sending = hospital
    bench = Bench(adapter)
    ward = f"PV1|1|I|AMU^^1^RXX{'|' * 16}V1"
    await read_all(bench, sending, [written("1", "A01", [pid(1), ward])])
    sending.put([written("2", "A02", [pid(1), ward.replace("AMU", "ICU")])])
    with pytest.raises(UnavailableError):
        await bench.read(bench.pump(Faults(0, UnavailableError("kafka", "is away"), "publish")))
    assert sending.codes == ["AA"]
    await adapter.close()  # and its connections: the hospital connects again
    assert bench.said(await bench.read()) == [("V1", 2, True)]
    assert sending.codes == ["AA", "AA"]
    assert [each["ward"] for each in held(bench)["hospital:hospital-stay:V1"]["wards"]] == ["AMU", "ICU"]


# -- settings, and the suite --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"url": "mysql://x@y/z"}, "begins with postgresql:// or sqlite://"),
        ({"ignore": ["A03"]}, "A03 would be lost"),
        ({"certificate": "/x.pem"}, "`certificate` and `key` go together"),
        ({"client_authorities": "/x.pem"}, "`client_authorities` needs"),
        ({"time_zone": "London"}, "is no time zone"),
        ({"visit": "PV1-3"}, "Input should be"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        HospitalSettings.model_validate({"port": 2575, "url": "sqlite:////x"} | given)


def test_the_sample_is_a_section_as_it_stands() -> None:
    [section] = tomllib.loads(system.sample)["adapters"].values()
    assert HospitalSettings.model_validate(section).host == "127.0.0.1"
    everything = tomllib.loads(re.sub(r"^# (?=[a-z_]+ = )", "", system.sample, flags=re.M))
    [section] = everything["adapters"].values()
    assert section.keys() == HospitalSettings.model_fields.keys()


async def test_a_register_that_cannot_be_made_is_told() -> None:
    adapter = HospitalAdapter("hospital", settings(Path("/nowhere")))
    with pytest.raises(MisconfiguredError, match=r"the register's file cannot be made .*name a file in a folder"):
        await Bench(adapter).read()
    [found, _] = await adapter.check()
    assert (found.well, found.fix[:11]) == (False, "name a file")


async def test_a_check_makes_no_register_and_finds_the_one_that_is_there(tmp_path: Path) -> None:
    adapter = HospitalAdapter("hospital", settings(tmp_path), wait=0.01)
    [found, _] = await adapter.check()
    assert (found.what, found.well) == ("the register is not there yet: the first start makes it", True)
    assert not list(tmp_path.iterdir())
    await Bench(adapter).read()
    await adapter.close()
    [found, _] = await adapter.check()
    assert (found.what, found.well) == ("the register answers", True)


class TestHospital(AdtSuite):
    """The adapter keeps the promises of every adapter."""

    name = "hospital"

    def made(self, folder: Path) -> HospitalAdapter:
        return HospitalAdapter("hospital", settings(folder), wait=0.2)


@pytest.mark.servers
async def test_the_register_is_kept_in_postgresql_over_a_restart(postgres_url: str) -> None:
    url = postgres_url.replace("+asyncpg", "")
    ward = f"PV1|1|I|AMU^^1^RXX{'|' * 16}V1"
    sent = [written("1", "A01", [pid(1), ward]), written("2", "A02", [pid(1), ward.replace("AMU", "ICU")])]
    for wards, message in enumerate(sent, 1):
        adapter = HospitalAdapter("hospital", HospitalSettings(port=0, url=SecretStr(url)), wait=0.3)
        async with outbox(adapter) as sending:
            bench = Bench(adapter)
            await read_all(bench, sending, [message])
            assert sending.codes == ["AA"]
            assert len(held(bench)["hospital:hospital-stay:V1"]["wards"]) == wards
