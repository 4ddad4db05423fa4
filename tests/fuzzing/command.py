"""The fuzzers' command line: many seeds in parallel, one seed with its story, and the fewest actions that still fail."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

_PORTION = 20  # seeds that a process is given at a time


class Found(NamedTuple):
    """The result of one seed: `what` is None if all is well."""

    seed: int
    what: str | None


Play = Callable[[int, frozenset[int], Callable[[str], None]], int]
"""Plays a seed without some of its actions and tells the story; returns how many actions the seed has."""


def _quiet(_: str) -> None: ...


def one(play: Play, seed: int, without: frozenset[int] = frozenset(), tell: Callable[[str], None] = _quiet) -> Found:
    try:
        play(seed, without, tell)
    except Exception as error:
        return Found(seed, f"{type(error).__name__}: {error}")
    return Found(seed, None)


def some(play: Play, seeds: Iterable[int]) -> list[Found]:
    return [one(play, seed) for seed in seeds]


def many(play: Play, seeds: Sequence[int], jobs: int, progress: Callable[[int, int], None]) -> list[Found]:
    """Play seeds in parallel; returns the ones that failed."""
    failed: list[Found] = []
    done = 0
    with ProcessPoolExecutor(jobs) as pool:
        portions = [seeds[at : at + _PORTION] for at in range(0, len(seeds), _PORTION)]
        for found in pool.map(some, [play] * len(portions), portions):
            done += len(found)
            failed += [each for each in found if each.what is not None]
            progress(done, len(failed))
    return failed


def fewest(play: Play, seed: int) -> frozenset[int]:
    """The actions that can be left out one by one while the seed still fails in the same way."""
    kind = _kind(one(play, seed).what)
    without: frozenset[int] = frozenset()
    try:
        actions = range(play(seed, frozenset(range(1000)), _quiet))
    except Exception:
        return without
    for action in reversed(actions):
        if _kind(one(play, seed, without | {action}).what) == kind:
            without |= {action}
    return without


def _kind(what: str | None) -> str:
    """A finding without the record and the numbers in it."""
    return "" if what is None else "".join(c for c in what.split(" (", 1)[0][:60] if not c.isdigit())


def main(name: str, play: Play) -> int:
    """Exit with status 1 if a seed failed. Python's hash seed is fixed, because otherwise a seed would differ from run to run."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(sys.executable, [sys.executable, "-m", name, *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})
    parser = argparse.ArgumentParser(prog=f"python -m {name}")
    parser.add_argument("--seeds", default="0-499", help="from-to, both included")
    parser.add_argument("--jobs", type=int, default=1, help="number of parallel processes")
    parser.add_argument("--seed", type=int, help="play only this seed")
    parser.add_argument("--fewest", action="store_true", help="with --seed: leave out all actions that the failure does not need")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --seed: tell what happens")
    asked = parser.parse_args()
    if asked.seed is not None:
        return _alone(play, asked.seed, fewest_too=asked.fewest, tell=print if asked.verbose else _quiet)
    first, _, last = asked.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began = time.monotonic()

    def progress(done: int, failed: int) -> None:
        rate = done / (time.monotonic() - began)
        end = "\n" if done == len(seeds) or not sys.stderr.isatty() else "\r"
        if end == "\r" or done == len(seeds) or done % 1000 < _PORTION:
            print(f"{done} of {len(seeds)} seeds, {failed} failed, {rate:.0f} a second", end=end, file=sys.stderr)

    failed = many(play, seeds, asked.jobs, progress)
    for each in failed[:40]:
        print(f"seed {each.seed}: {each.what}")
    if failed:
        print(f"{len(failed)} of {len(seeds)} seeds failed; one again: python -m {name} --seed {failed[0].seed} --fewest -v")
    return 1 if failed else 0


def _alone(play: Play, seed: int, *, fewest_too: bool, tell: Callable[[str], None]) -> int:
    without = fewest(play, seed) if fewest_too else frozenset()
    found = one(play, seed, without, tell)
    if without:
        print(f"seed {seed} without the actions {sorted(without)}")
    print(f"seed {seed}: {found.what or 'well'}")
    return 1 if found.what else 0
