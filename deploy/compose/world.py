"""
The invented council of docker-compose.yml: `world.py make` once, `world.py change SEED` for a day's work in it.

WORLD_URL is the legacy database, WORLD_DROP the drop folder, WORLD_CHART the file that tells the Business Central
sandbox its accounts and dimensions. What is there already is left as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.liquidlogic import world as liquidlogic
from adapters.liquidlogic.settings import LiquidlogicSettings
from adapters.payables import world as payables


async def make(url: str, drop: Path, children: int, invoices: int) -> None:
    spoilt = await liquidlogic.create(url, children)
    print(f"{children} children in {make_url(url).database}, {spoilt} records spoilt on purpose")
    if any(drop.glob("*.csv")):
        print(f"{drop} holds extracts already")
    else:
        print(f"{len(payables.write(drop, invoices=invoices))} extracts of {invoices} invoices in {drop}")


async def change(url: str, drop: Path, seed: int) -> None:
    engine = create_async_engine(LiquidlogicSettings.model_validate({"url": url}).parsed_url)
    try:
        async with engine.begin() as connection:
            done = await liquidlogic.change(connection, seed)
    finally:
        await engine.dispose()
    print("\n".join(done + payables.correct(drop)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demonstration's council, or do a day's work in it.")
    acts = parser.add_subparsers(dest="act", required=True)
    making = acts.add_parser("make")
    making.add_argument("--children", type=int, default=400)
    making.add_argument("--invoices", type=int, default=600)
    acts.add_parser("change").add_argument("seed", type=int)
    asked = parser.parse_args()
    url, drop = os.environ["WORLD_URL"], Path(os.environ["WORLD_DROP"])
    if asked.act == "make":
        Path(os.environ["WORLD_CHART"]).write_text(json.dumps(payables.chart()), "utf-8")
        asyncio.run(make(url, drop, asked.children, asked.invoices))
    else:
        asyncio.run(change(url, drop, asked.seed))


if __name__ == "__main__":
    main()
