"""
The invented council of docker-compose.yml: `world.py make` once, `world.py change SEED` for a day's work in it.

It fills each legacy system that the settings file has a section for and that has an invented world. The environment names the
systems by accounts that may write. WORLD_CHART is the file that tells the Business Central sandbox its accounts and
dimensions. What is there already is left as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from ironbridge.demo import legacy
from ironbridge.settings import load


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demonstration's council, or do a day's work in it.")
    parser.add_argument("--file", type=Path, default=Path("/etc/ironbridge/ironbridge.toml"))
    acts = parser.add_subparsers(dest="act", required=True)
    making = acts.add_parser("make")
    making.add_argument("--size", action="append", default=[], metavar="NAME=N", help="records, e.g. liquidlogic=400")
    making.add_argument("--seed", type=int, default=893)
    acts.add_parser("change").add_argument("seed", type=int)
    asked = parser.parse_args()
    adapters = load(asked.file).adapters
    if asked.act == "make":
        Path(os.environ["WORLD_CHART"]).write_text(json.dumps(legacy.chart(adapters)), "utf-8")
        done = asyncio.run(legacy.make(adapters, legacy.sizes_of(asked.size), asked.seed))
    else:
        done = asyncio.run(legacy.change(adapters, asked.seed))
    print("\n".join(done))


if __name__ == "__main__":
    main()
