"""SSDA903: the suite, the invented return, and every row of the shared files."""

import csv
import json
import re
import shutil
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar

import pytest
from lxml import etree
from typer.testing import CliRunner

from adapters.engine.journal import INCOMPLETE
from adapters.kit.files_world import Sheets
from adapters.kit.scratch import TWICE
from adapters.ssda903 import Ssda903Adapter, Ssda903Settings, system
from adapters.ssda903.adapter import DECLARED
from adapters.ssda903.world import SSDA903, ReturnStory
from adapters.testing import Bench
from adapters.testing.files_suite import FilesSuite, RowEdit
from ironbridge.program import app

TODAY = date(2026, 6, 1)


def adapter(folder: Path) -> Ssda903Adapter:
    return Ssda903Adapter("ssda903", Ssda903Settings(folders=(folder,), settle=timedelta(0)))


def told() -> ReturnStory:
    story = ReturnStory(5, TODAY)
    for number in range(1, 31):
        story.child(number)
    return story


def key_of_row(entity: str, file: str, row: int, *columns: str) -> str:
    cells = told().sheets[f"SSDA903_2024_{file}.csv"][row]
    parts = [cells["CHILD"], *("-".join(reversed(cells[each].split("/"))) for each in columns)]
    return f"ssda903:{entity}:{':'.join(parts)}"


class TestTheSuite(FilesSuite):
    """The adapter keeps the promises of every adapter."""

    system = system
    name = "ssda903"
    changed = RowEdit(
        "SSDA903_2024_reviews.csv", 3, {"REVIEW_CODE": "PN0"}, key_of_row("review", "reviews", 3, "REVIEW")
    )
    deleted = RowEdit("SSDA903_2024_missing.csv", 1, {}, key_of_row("missing-episode", "missing", 1, "MIS_START"))
    broken = RowEdit(
        "SSDA903_2024_missing.csv", 2, {"MISSING": "Q"}, key_of_row("missing-episode", "missing", 2, "MIS_START"),
        mended={"MISSING": "A"},
    )  # fmt: skip
    files: ClassVar = {
        stream: f"SSDA903_2024_{file}.csv"
        for stream, file in {
            "person": "header", "unaccompanied": "uasc", "looked-after-episode": "episodes", "placement": "episodes",
            "legal-status": "episodes", "missing-episode": "missing", "review": "reviews", "involvement": "sw_episodes",
            "health-screening": "oc2", "conviction": "oc2", "care-leaver": "oc3", "adoption": "ad1",
            "placed-for-adoption": "placed_adoption", "previous-permanence": "prev_perm",
        }.items()
    }  # fmt: skip

    def sheets(self) -> Sheets:
        return told().sheets

    def besides(self) -> dict[str, int]:
        return {"mother": 1, "health-check": 30 * 5}


def test_every_stream_is_counted() -> None:
    assert {*TestTheSuite.files, "mother", "health-check"} == {each.name for each in DECLARED}


async def test_a_spoilt_cell_costs_itself_or_its_row_and_a_days_work_is_published(tmp_path: Path) -> None:
    folder = tmp_path / "returns"
    assert SSDA903.create(folder, 30, 5, TODAY) == 2
    bench = Bench(adapter(folder))
    await bench.read()
    spoilt = {key.removesuffix(INCOMPLETE): problem.field for key, problem in bench.problems().items()}
    assert sorted(spoilt.values()) == ["DECOM", "DECOM", "DECOM", "HEADER.UPN"]  # three streams read the episodes
    assert len(SSDA903.change(folder, 1)) == 3
    changed = Counter((event.entity, event.data is not None) for event in await bench.read())
    assert changed == {("placement", True): 1, ("review", True): 1, ("missing-episode", False): 1}


async def test_a_corrected_file_replaces_the_file_that_it_corrects(tmp_path: Path) -> None:
    story = told()
    SSDA903.create(tmp_path / "left", 30, 5, TODAY)
    bench = Bench(adapter(tmp_path / "left"))
    await bench.read()
    missing = tmp_path / "left" / "SSDA903_2024_missing.csv"
    first, *others = missing.read_text().splitlines(keepends=True)
    missing.with_name("SSDA903_2024_missing_corrected.csv").write_text("".join([first, *others[1:]]))
    gone = [event.key for event in await bench.read() if event.data is None]
    assert gone == [key_of_row("missing-episode", "missing", 0, "MIS_START")]
    assert len(story.sheets["SSDA903_2024_missing.csv"]) == len(others)


def test_try_and_profile_show_what_becomes_of_the_rows(tmp_path: Path) -> None:
    SSDA903.create(tmp_path / "left", 8, 5, TODAY)
    file = tmp_path / "ironbridge.toml"
    file.write_text(f'data = "."\n[adapters.ssda903]\nfolders = ["{tmp_path / "left"}"]\nsettle = 0\n')

    def invoke(*asked: str) -> list[dict[str, Any]]:
        done = CliRunner().invoke(app, [*asked, "--json", "--file", str(file)])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.output)

    shown = invoke("try", "ssda903", "person", "--rows", "3")
    assert "ssda903:person:100001" in json.dumps(shown)
    profiled = {each["stream"]: each for each in invoke("profile", "ssda903")}
    assert len(profiled) == len(DECLARED)
    assert (profiled["placement"]["rows"], profiled["placement"]["records"]) == (12, 11)  # the last DECOM is no day


# -- the shared files ------------------------------------------------------------------------------------------------

FILES = "data/social-care/ssda903"
POSTCODE = re.compile(r"([A-PR-UWYZ][A-HK-Y]?[0-9][0-9A-Z]?) ?[0-9][ABD-HJLNP-UW-Z]{2}")
LETTERS = "".join(each for each in ascii_uppercase if each not in "IOS")


def lines(shared: Path, name: str) -> list[dict[str, str]]:
    with (shared / FILES / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def upn_is_wrong(upn: str) -> bool:
    """The rule of a UPN, written in another way than the canonical type does."""
    if len(upn) != 13 or upn[0] not in LETTERS or not upn[1:12].isdigit() or upn[12] not in LETTERS + "0123456789":
        return True
    values = [LETTERS.index(each) if each in LETTERS else int(each) for each in upn[1:]]
    return LETTERS[sum((at + 2) * value for at, value in enumerate(values)) % 23] != upn[0]


def postcode_is_wrong(postcode: str) -> bool:
    return bool(postcode) and not (POSTCODE.fullmatch(postcode) and well_formed(postcode.split()[0]))


def well_formed(outward: str) -> bool:
    """Behind a district's digit may stand any letter in an area of two letters, and some in an area of one."""
    return outward[-1].isdigit() or outward[1].isalpha() or outward[-1] in "ABCDEFGHJKPSTUW"


@pytest.mark.shared
async def test_every_row_of_the_shared_files_is_accounted_for(shared: Path, tmp_path: Path) -> None:
    for path in (shared / FILES).glob("*.csv"):
        shutil.copy(path, tmp_path)
    bench = Bench(adapter(tmp_path))
    events = await bench.read()

    count = {path.stem: len(lines(shared, path.name)) for path in (shared / FILES).glob("*.csv")}
    reviews = Counter((row["CHILD"], row["REVIEW"]) for row in lines(shared, "reviews.csv"))
    alike = Counter(tuple(row.values()) for row in lines(shared, "reviews.csv"))
    of_a_day = Counter(key[:1] + key[2:3] for key in alike)  # the child and the day of each different review
    contradicting = {key for key, different in of_a_day.items() if different > 1}
    in_quarantine = sum(number for key, number in reviews.items() if key in contradicting)
    copies = sum(number - 1 for row, number in alike.items() if row[:1] + row[2:3] not in contradicting)
    assert Counter(event.stream for event in events) == {
        "person": count["header"],
        "mother": sum(bool(row["MOTHER"]) for row in lines(shared, "header.csv")),
        "unaccompanied": count["uasc"],
        **dict.fromkeys(("looked-after-episode", "placement", "legal-status"), count["episodes"]),
        "missing-episode": count["missing"],
        "review": count["reviews"] - in_quarantine - copies,
        "involvement": count["sw_episodes"],
        **dict.fromkeys(("health-screening", "conviction"), count["oc2"]),
        "health-check": 5 * count["oc2"],
        "care-leaver": count["oc3"],
        "adoption": count["ad1"],
        "placed-for-adoption": count["placed_for_adoption"],
        "previous-permanence": count["previous_permanence"],
    }
    account = bench.state.of("review").accounts["reviews"]
    assert (account.records, account.quarantined, account.besides) == (
        count["reviews"] - in_quarantine - copies, in_quarantine,
        {"copies of other rows": copies, "rows that contradict another one of their key": in_quarantine},
    )  # fmt: skip

    told = Counter((problem.field, key.endswith(INCOMPLETE)) for key, problem in bench.problems().items())
    episodes = lines(shared, "episodes.csv")
    assert told == {
        ("HEADER.UPN", True): sum(upn_is_wrong(row["UPN"]) for row in lines(shared, "header.csv")),
        ("EPISODES.HOME_POST", True): sum(postcode_is_wrong(row["HOME_POST"]) for row in episodes),
        ("EPISODES.PL_POST", True): sum(postcode_is_wrong(row["PL_POST"]) for row in episodes),
        # Every line has XXX for the reason, which the return does not have.
        ("PLACED_FOR_ADOPTION.REASON_PLACED_CEASED", True): count["placed_for_adoption"],
        ("SW_EPISODES.SW_REASON", True): 1,  # SWLAZY
        ("child, review", False): len(contradicting),
        ("key", False): in_quarantine - len(contradicting),
    }


@pytest.mark.shared
async def test_every_record_of_the_shared_return_as_xml_is_accounted_for(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / FILES / "fake_903.xml", tmp_path)
    bench = Bench(adapter(tmp_path))
    events = await bench.read()
    children = list(etree.parse(shared / FILES / "fake_903.xml").getroot())
    count = Counter(each.tag for child in children for each in child.iter())
    assert Counter(event.stream for event in events) == {
        "person": len(children), "unaccompanied": count["DUC"], "missing-episode": count["AMISSING"],
        **dict.fromkeys(("looked-after-episode", "placement", "legal-status"), count["EPISODE"]),
        "review": count["AREVIEW"], **dict.fromkeys(("health-screening", "conviction"), count["OC2"]),
        "health-check": 5 * count["OC2"], "care-leaver": count["IN_TOUCH"], "adoption": count["DATE_INT"],
        "placed-for-adoption": count["AD_PLACED"], "previous-permanence": count["PERMANENCE"],
    }  # fmt: skip
    told = Counter(problem.field for key, problem in bench.problems().items() if key.endswith(INCOMPLETE))
    said = {tag: [each.text or "" for child in children for each in child.iter(tag)] for tag in count}
    assert told == {
        "HEADER.UPN": sum(map(upn_is_wrong, said["UPN"])),
        "EPISODES.HOME_POST": sum(map(postcode_is_wrong, said["HOME_POST"])),
        "EPISODES.PL_POST": sum(map(postcode_is_wrong, said["PL_POST"])),
        "PLACED_FOR_ADOPTION.REASON_PLACED_CEASED": count["AD_PLACED"],  # XXX, as in the CSV
    }
    assert len(bench.problems()) == told.total()
    first, places = children[0], {event.key: json.loads(event.data or b"{}") for event in events if event.stream == "placement"}
    (number, *_), episode = first.itertext(), first.find("EPISODE")
    assert episode is not None
    place = places[f"ssda903:placement:{number}:2017-01-06"]
    assert (place["placement_type"], place["ofsted_urn"]) == (episode.findtext("PL"), episode.findtext("URN"))


async def test_a_years_return_as_xml_takes_the_place_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "left"
    SSDA903.create(folder, 3, 5, TODAY)
    bench = Bench(adapter(folder))
    await bench.read()
    child = "<CHILDID>100001</CHILDID><UPN/><SEX>1</SEX><DOB>01/02/2015</DOB><ETHNIC>WBRI</ETHNIC><MOTHER/><MC_DOB/>"
    (folder / "SSDA903_2024.xml").write_text(f"<EXPSSDA903><CHILD><HEADER>{child}</HEADER></CHILD></EXPSSDA903>")
    persons = {event.key: json.loads(event.data or b"null") for event in await bench.read() if event.entity == "person"}
    assert persons["ssda903:person:100001"]["birth_date"] == "2015-02-01"


@pytest.mark.shared
async def test_the_file_that_is_wrong_on_purpose_changes_no_child_that_it_contradicts_itself_about(
    shared: Path, tmp_path: Path
) -> None:
    good, wrong = (lines(shared, f"{name}.csv") for name in ("placed_for_adoption", "placed_for_adoption_errors"))
    shutil.copy(shared / FILES / "placed_for_adoption.csv", tmp_path / "SSDA903_2018_placed_for_adoption.csv")
    bench = Bench(adapter(tmp_path))
    assert len(await bench.read()) == len(good)
    corrected = tmp_path / "SSDA903_2018_placed_for_adoption_v2.csv"
    corrected.write_bytes((shared / FILES / "placed_for_adoption_errors.csv").read_bytes())
    times = Counter(row["CHILD"] for row in wrong)
    (doubled,) = [child for child, number in times.items() if number > 1]
    placed = {row["CHILD"]: row["DATE_PLACED"] for row in good}
    moved = {row["CHILD"] for row in wrong if row["DATE_PLACED"] != placed[row["CHILD"]]} - {doubled}
    events = await bench.read()
    assert {event.key for event in events} == {f"ssda903:permanence:placed-{child}" for child in moved}
    assert all(event.data is not None for event in events)
    problems = Counter(problem.rule.partition(":")[0] for problem in bench.problems().values())
    left_out = sum(row["REASON_PLACED_CEASED"] not in ("", "RD1", "RD2", "RD3", "RD4") for row in wrong) - times[doubled]
    assert problems == {"is left out": left_out, TWICE: 1, "occurs more than once": 1}


async def test_check_says_what_lies_there_and_what_belongs_to_no_stream(tmp_path: Path) -> None:
    SSDA903.create(tmp_path / "left", 5, 5, TODAY)
    (tmp_path / "left" / "notes.txt").write_text("nothing of ours\n")
    in_all, *looked = await adapter(tmp_path / "left").check()
    assert (in_all.what.partition(": ")[2], in_all.well) == ("15 extracts, 1 files that belong to no stream", True)
    assert "SSDA903_2024_reviews.csv: stream review, 5 rows" in [finding.what for finding in looked]
    mothers = next(finding.what for finding in looked if "stream mother" in finding.what)
    assert mothers == "SSDA903_2024_header.csv: stream mother, 0 rows, rows without a record of this kind: 5"
