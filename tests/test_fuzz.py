"""
Any input at all: records, rows and settings are refused in our own words, or nothing of them is lost or changed.

What a system reads besides, such as files, its own tests try.
"""

import asyncio
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from adapters.engine.mapping import mapped_or_bad
from adapters.port import Files, Record, Row, Stream, Sweep, Tail
from adapters.testing import whole
from canonical import Entity
from canonical.errors import BadRecordError, MisconfiguredError
from ironbridge.demo import legacy
from ironbridge.runtime import systems
from ironbridge.settings import load
from security import properties

ROOT = Path(__file__).parent.parent
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]

# -- records -------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_sequence", "ce_partitionkey", "ce_stream",
     "traceparent"]
)  # fmt: skip
VALUES = st.none() | st.binary(max_size=30) | st.sampled_from(
    [b"1.0", b"urn:ironbridge:a", b"ironbridge.person.v1", b"a:person:1", b"a:person:1@1", b"0000000001", b"9" * 5000,
     b"0001-01-01T00:00:00+23:59", b"2026-01-01T00:00:00Z"]
)  # fmt: skip
STATES = (
    st.none()
    | st.binary(max_size=60)
    | st.sampled_from([b'{"key":"a:person:1"}', b"[" * 5000, b'{"key":"a:person:1","sex":1e999}'])
)
WHOLE = {
    "ce_specversion": b"1.0",
    "ce_id": b"a:person:1@1", "ce_source": b"urn:ironbridge:a", "ce_type": b"ironbridge.person.v1",
    "ce_subject": b"a:person:1", "ce_time": b"2026-01-01T00:00:00Z",
    "ce_sequence": b"0000000001", "ce_partitionkey": b"a:person:1",
}  # fmt: skip


@effort(max_examples=300)
@given(changed=st.dictionaries(NAMES, VALUES, max_size=3), value=STATES, whole=st.booleans())
def test_any_headers_are_an_event_or_a_bad_record(changed: dict[str, Any], value: bytes | None, whole: bool) -> None:
    properties.decoded(list(((WHOLE if whole else {}) | changed).items()), value)


@effort(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_bad_record(data: bytes) -> None:
    properties.envelope(data)


# -- rows ----------------------------------------------------------------------------------------------------------


class Read:
    """What was read; Hypothesis prints its arguments, so this one says nothing of it."""

    def __init__(self, streams: list[tuple[Stream, list[Row]]]) -> None:
        self.streams = streams


@pytest.fixture(scope="module", params=sorted(legacy.sections(Path())))
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Every stream of each adapter that has a world, with the rows of a small one as they are read."""
    name, folder = request.param, tmp_path_factory.mktemp("world")

    async def every() -> list[tuple[Stream, list[Row]]]:
        section = {name: legacy.sections(folder)[name]}
        await legacy.make(section, {name: 25}, seed=1)
        system, settings = systems.adapter_system(name, section[name])
        adapter = system.build(name, settings)
        await adapter.open()
        try:
            return [(stream, [row async for row in rows_of(stream)]) for stream in adapter.streams()]
        finally:
            await adapter.close()

    with asyncio.Runner() as runner:
        return Read(runner.run(every()))


async def rows_of(stream: Stream) -> AsyncIterator[Row]:
    match stream.reading:
        case Sweep(pages) | Tail(sweep=Sweep(pages)):
            async for page in pages(None):
                for record in page.records:
                    yield record.row
        case Files(extracts):
            while not (ready := [extract async for extract in extracts()]):
                await asyncio.sleep(0.2)  # a file must lie still for a while
            for extract in ready:
                for record in await whole(extract):
                    yield record.row


ODD_TEXTS = [
    "",
    " ",
    "-1",
    "Y",
    "maybe",
    "31/02/2024",
    "2024-05-31",
    "\u0661/01/2024",
    "F2 - x",
    "x" * 5000,
    "\0",
    "\u00e9\U0001f600",
]
ODD_DAYS = [datetime.min, datetime.max, datetime(1900, 1, 1), datetime(2024, 2, 29, 23, 59, 59)]  # noqa: DTZ001, DTZ901 (as databases give them)


def other(held: Any, random: Random) -> Any:
    """What else a column of that kind may hold."""
    match held:
        case bool():
            return not held
        case int() | Decimal():
            return random.choice(
                [-1, 0, held + 1, 2**31, 10**25]
            )  # no NULL: keys have none, and their streams ask for owners
        case datetime() | date():
            return random.choice([None, *ODD_DAYS])
        case str():
            return random.choice([None, *ODD_TEXTS])
        case _:
            return held  # NULL, of a column whose type the row does not tell


def spoilt(row: Row, random: Random, places: int) -> Row:
    """The row with some of its cells replaced; keys too, for anything may stand in a legacy system."""
    cells = list(row)
    for place in random.sample(range(len(cells)), min(places, len(cells))):
        held = cells[place]
        cells[place] = (
            tuple(spoilt(inner, random, 1) for inner in held) if isinstance(held, tuple) else other(held, random)
        )
    return tuple(cells)


@effort(max_examples=300, suppress_health_check=SLOW)
@given(seed=st.integers(0, 2**32))
def test_any_row_is_an_entity_that_survives_being_published_or_is_quarantined(read: Read, seed: int) -> None:
    random = Random(seed)
    stream, rows = random.choice([each for each in read.streams if each[1]])
    row = spoilt(random.choice(rows), random, random.randrange(4))
    record = Record("any", (0,), row)
    try:
        made = mapped_or_bad("here", stream, record)
    except BadRecordError:  # what the pump quarantines; a row may be one that no query gives
        return
    entity: Entity = made.kind.from_bytes(made.data)
    assert entity.to_bytes() == made.data
    again = mapped_or_bad("here", stream, record)
    assert (again._replace(left_out=None), str(again.left_out)) == (made._replace(left_out=None), str(made.left_out))
    if made.left_out is None and "\\x00" not in repr(row):  # a NUL is taken out
        assert stream.map(row) == entity


# -- settings ------------------------------------------------------------------------------------------------------

WORDS = st.sampled_from(["kafka", "state", "telemetry", "adapters", "targets", "url", "broker", "partitions", "payables", "data",
                         "liquidlogic", "dfe_csc", "la_code", "folders", "layouts", "system", "guard_share"])  # fmt: skip
PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["none", "1h", "x://y"])
)
TREES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4), max_leaves=12
)


def toml(tree: Any) -> str:
    match tree:
        case bool():
            return str(tree).lower()
        case dict():
            return "{" + ", ".join(f"{name} = {toml(value)}" for name, value in tree.items() if value is not None) + "}"
        case list():
            return "[" + ", ".join(toml(value) for value in tree if value is not None) + "]"
        case str():
            return "'" + "".join(c for c in tree if c.isprintable() and c != "'") + "'"
        case _:
            return str(tree)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ironbridge.toml"


def loaded(file: Path, content: bytes) -> None:
    """Settings that hold, or one error of ours; never another."""
    file.write_bytes(content)
    try:
        settings = load(file)
        systems.adapters(settings)
        systems.targets(settings)
    except MisconfiguredError:
        return


@effort(max_examples=150, suppress_health_check=SLOW)
@given(tree=st.dictionaries(WORDS, TREES, max_size=4))
def test_any_settings_hold_or_are_misconfigured(file: Path, tree: dict[str, Any]) -> None:
    text = "\n".join(f"{name} = {toml(value)}" for name, value in tree.items() if value is not None)
    tomllib.loads(text)
    loaded(file, text.encode())


@effort(max_examples=60, suppress_health_check=SLOW)
@given(
    content=st.binary(max_size=60) | st.sampled_from([b"[" * 3000, b"a = " + b"[" * 3000, b"data = 1" + b"0" * 5000])
)
def test_any_bytes_for_settings_are_misconfigured_or_hold(file: Path, content: bytes) -> None:
    loaded(file, content)


# -- guided by coverage --------------------------------------------------------------------------------------------

TARGETS = properties.targets()


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_fuzzer_has_found_stays_mended(target: str) -> None:
    for finding in sorted((ROOT / "security" / "findings").glob(f"{target}-*")):
        TARGETS[target].holds(finding.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_a_fuzzer_that_is_guided_by_coverage_finds_nothing_in_a_short_time(target: str) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this machine")
    command = [sys.executable, "-m", "security.fuzz", "--target", target, "--seconds", "10", "--seed", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    print(f"{' '.join(command[1:])}\n{done.stderr[-2000:]}")
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-1000:]}"  # the exception is in what it prints
    assert "stat::number_of_executed_units" in done.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_is_the_same_for_the_same_seed(target: str) -> None:
    one, again, other = (TARGETS[target].corpus(seed) for seed in (3, 3, 4))
    assert one == again != other
