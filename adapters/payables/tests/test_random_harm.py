"""Files that are cut, doubled, renamed and re-ordered at random publish no wrong amount, and lose or double none unsaid."""

import random
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.payables import world
from adapters.payables.layout import built_in
from adapters.payables.reading import FileRecords, Rules, read
from adapters.payables.tests.test_evidence import bench, paid, put, told
from adapters.payables.tests.test_wholeness import money
from canonical.errors import BadRecordError

SPEND = "data/finance/council-spend"
TRIES = 25
RULES = Rules("council", built_in())


def cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def doubled(data: bytes, chance: random.Random) -> bytes:
    """Pasted twice, or some lines of it."""
    lines = data.splitlines(keepends=True)
    if chance.random() < 0.5:
        return data + b"".join(lines[chance.randrange(2) :])
    at = chance.randrange(1, len(lines))
    return b"".join([*lines[:at], *lines[at : at + chance.randrange(1, 4)], *lines[at:]])


def reordered(data: bytes, chance: random.Random) -> bytes:
    head, *lines = data.splitlines(keepends=True)
    chance.shuffle(lines)
    return b"".join([head, *lines])


def judge(data: bytes, right: FileRecords) -> None:
    """The file is refused; or each row is accounted for, and no amount is there that was not, besides the counted copies."""
    try:
        found = read("spend", data, RULES)
    except BadRecordError:
        return
    assert found.reckoning.accounted == found.reckoning.rows
    more = money(found) - money(right)
    # Doubled rows are counted: a copy of a row, and a row that differs from its neighbour in its text alone.
    assert sum(more.values()) <= found.reckoning.duplicates, more


def _some(path: Path) -> bytes:
    """The first lines of a file, as many as make the test quick."""
    lines = path.read_bytes().splitlines(keepends=True)
    return b"".join(lines[:60])


@pytest.mark.shared
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "path", ["hyndburn/2017-01.csv", "calderdale/2018-12.csv", "salford/2017-10.csv", "darlington/2014-08.csv"]
)
def test_a_published_file_harmed_at_random_is_refused_or_right(shared: Path, path: str, seed: int) -> None:
    data, chance = _some(shared / SPEND / path), random.Random(f"{path} {seed}")
    right = read("spend", data, RULES)
    for _ in range(TRIES):
        judge(chance.choice([cut, doubled, reordered])(data, chance), right)


@pytest.mark.parametrize("seed", range(6))
def test_an_invented_file_harmed_at_random_is_refused_or_right(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    for file in world.write(tmp_path, seed=seed, suppliers=5, invoices=12):
        data = file.read_bytes()
        if data.startswith(b"PK"):
            continue
        right = read("spend", data, RULES)
        for _ in range(TRIES):
            judge(chance.choice([cut, doubled])(data, chance), right)


@pytest.mark.parametrize("seed", range(12))
async def test_a_folder_harmed_at_random_pays_nothing_twice_and_says_what_is_wrong(tmp_path: Path, seed: int) -> None:
    """A list without numbers is renamed, sent again under other names, cut and mended, in any order."""
    chance, here = random.Random(seed), bench(tmp_path)
    amounts = [Decimal(chance.randrange(1, 10**7)) / 100 for _ in range(chance.randrange(6, 40))]
    whole = "Payee,Paid On,Amount\n" + "".join(f"Payee {n} Ltd,01/04/2024,{a}\n" for n, a in enumerate(amounts))
    path = put(tmp_path / "april.csv", whole, 10_000)
    await here.read()
    for step in range(6):
        match chance.choice(["rename", "again", "cut", "mend"]):
            case "rename":
                path = path.rename(tmp_path / f"april{step}x.csv")
            case "again":
                put(tmp_path / f"another{step}x.csv", whole, 9000 - step)
            case "cut":
                put(path, whole[: chance.randrange(len(whole) - 1)], 8000 - step)
            case _:
                put(path, whole, 8000 - step)
        await here.read()
        lives = Counter(abs(net) for net in _paid_amounts(here))
        assert lives <= Counter(amounts), "an amount is wrong, or is there twice"
        assert paid(here) == len(amounts) or told(here) or here.waiting("payables")


def _paid_amounts(here: object) -> list[Decimal]:
    from canonical import Invoice

    state = here.log.state()  # type: ignore[attr-defined]
    found = [Invoice.from_bytes(data) for key, data in state.items() if ":invoice:" in key]
    return [line.net for each in found for line in each.lines]
