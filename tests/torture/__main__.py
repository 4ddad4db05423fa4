"""`python -m tests.torture --seed 1 --kills 60`: torture the platform, and write a report."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path

from tests.torture import corners, report, scenes
from tests.torture.stage import staged
from tests.torture.torture import SPLIT, Torture
from tests.torture.witness import CENTRAL, DFE

NETWORK = [(to, how) for to in ("kafka", "state", "warehouse", DFE, CENTRAL)
           for how in ("cut", "slow", "reset", "deaf", "half_open")]  # fmt: skip


async def short(t: Torture) -> None:
    """What CI does: a little of everything."""
    await t.take_the_stage(SPLIT)
    await scenes.storm(t, 20)
    await t.rest()
    await scenes.replaced(t)
    await scenes.broker(t)
    await scenes.state(t)
    await t.rest()
    await scenes.between_steps(t, t.rng.sample(scenes.steps(), 26), patience=4)
    await scenes.warehouse(t)
    await scenes.faults(t, 5)
    await t.rest()
    await scenes.full_disk(t, 2)
    for to, how in t.rng.sample(NETWORK, 4):
        await scenes.network(t, to, how, 3)
    await scenes.certificate(t)
    await scenes.legacy_trouble(t)
    await scenes.two_copies(t)
    await scenes.all_in_one(t, 6)
    await t.rest()
    await scenes.workers(t, 8)
    await scenes.sleeper(t)
    await scenes.state_lost(t)
    await t.rest()
    await in_the_corners(t, [*CORNERS, *AT_THE_END], 3)


CORNERS: dict[str, Callable[[Torture, int], Awaitable[None]]] = {
    "clocks": corners.clocks,
    "rolling": corners.rolling,
    "set_back": lambda t, kills: corners.set_back(t, 1.0 + 0.2 * kills),
    "restored": lambda t, kills: corners.restored(t, 1 + kills // 3),
    "short_file": lambda t, kills: corners.short_file(t, 1 + kills // 6),
    "recreated": lambda t, _: corners.recreated(t),
    "installations": lambda t, _: corners.installations(t),
}


AT_THE_END = {"renumbered": corners.renumbered}
"""Played at the end: what came before could not be judged any more."""


async def in_the_corners(t: Torture, names: Iterable[str], kills: int) -> None:
    """Play each of these, and a rest after it."""
    for name in names:
        await (CORNERS | AT_THE_END)[name](t, kills)
        await t.rest()


async def long(t: Torture, kills: int, minutes: float, folder: Path | None) -> None:
    """Rounds of everything until so many were killed; every step once at least."""
    await t.take_the_stage(SPLIT)
    turn, between, ways = 0, t.rng.sample(scenes.steps(), len(scenes.steps())), t.rng.sample(NETWORK, len(NETWORK))
    until = time.time() + 60 * minutes
    corner = t.rng.sample([*CORNERS], len(CORNERS))
    while (t.all_kills() < kills or turn < 13) and time.time() < until:
        turn += 1
        t.say(f"round {turn}, {time.time() - t.began:.0f} s")
        await scenes.storm(t, 100, most=0.55)
        await scenes.between_steps(t, between[:8])
        between = between[8:] + between[:8]
        for _ in range(2):
            await scenes.network(t, *ways[0], t.rng.uniform(2, 6))
            ways = ways[1:] + ways[:1]
        await _turn(t, turn)
        await t.rest()
        await in_the_corners(t, [corner[turn % len(corner)]], 12)
        if folder is not None:
            report.write(t, folder)
    await scenes.replaced(t)
    await t.rest()
    await in_the_corners(t, AT_THE_END, 12)


async def _turn(t: Torture, turn: int) -> None:
    others = [
        scenes.broker, scenes.state, lambda t: scenes.faults(t, 8), scenes.warehouse, scenes.full_disk, scenes.two_copies,
        lambda t: scenes.workers(t, 10), scenes.sleeper, scenes.legacy_trouble, lambda t: scenes.all_in_one(t, 15),
        scenes.state_lost, scenes.replaced, scenes.certificate,
    ]  # fmt: skip
    for scene in (others[turn % len(others)], others[(turn + 5) % len(others)]):
        await scene(t)  # type: ignore[operator]


async def chosen(t: Torture, names: Sequence[str], kills: int) -> None:
    """Play only these corners, as often as it takes to kill so many."""
    await t.take_the_stage(SPLIT)
    while t.all_kills() < kills:
        await scenes.storm(t, 4)
        await in_the_corners(t, names, 8)


async def torture(seed: int, kills: int, minutes: float, folder: Path | None, only: Sequence[str] = ()) -> Torture:
    work = Path(tempfile.mkdtemp(prefix="ironbridge-torture-"))
    print(f"seed {seed}, at least {kills} kills, in {work}", flush=True)
    async with staged(work, seed) as stage:
        t = Torture(stage, seed, kills, say=lambda said: print(said, flush=True))
        async with t.playing():
            try:
                if only:
                    await chosen(t, only, kills)
                else:
                    await (short(t) if kills <= 100 else long(t, kills, minutes, folder))
                t.say("a new subscriber reads it all from the start")
                t.note(await t.judged(await stage.subscriber.all()))
            finally:
                if folder is not None:
                    report.write(t, folder)
    if not t.violations:
        shutil.rmtree(work, ignore_errors=True)
    print(report.verdict(t), flush=True)
    return t


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--kills", type=int, default=60, help="at least so many; over 100 in rounds of everything")
    parser.add_argument("--report", type=Path, help="a folder for report.md, report.html and report.json")
    parser.add_argument("--minutes", type=float, default=60, help="no new round after so many")
    every = [*CORNERS, *AT_THE_END]
    parser.add_argument("--only", nargs="+", choices=every, default=(), help="play only these, again and again")
    asked = parser.parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our subscriber loses its broker again and again
    done = asyncio.run(torture(asked.seed, asked.kills, asked.minutes, asked.report, asked.only))
    sys.exit(1 if done.violations else 0)


if __name__ == "__main__":
    main()
