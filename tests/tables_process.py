"""A process that writes open tables until it is killed; a test or a benchmark starts it: settings as JSON on its input."""

from __future__ import annotations

import asyncio
import json
import sys

from ironbridge.settings import KafkaSettings, TablesSettings
from ironbridge.tables.writer import TablesWriter

if __name__ == "__main__":
    given = json.loads(sys.stdin.read())
    writer = TablesWriter(TablesSettings(**given["tables"]), KafkaSettings(**given["kafka"]))
    asyncio.run(writer.run(asyncio.Event()))
