"""
The console's door in docker-compose.yml: `python door.py FROM TO` takes connections at one port to another on the loopback.

The console lets whoever is at the machine in without a sign-in, and therefore listens on its own loopback address alone. In a
container that is nobody's machine. This opens it to the container's network, and compose publishes it on the loopback of the
machine that it runs on, for whoever is there. Anywhere else give people a sign-in instead: docs/console.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until one side has nothing more to say."""
    with contextlib.suppress(OSError):
        while piece := await source.read(1 << 16):
            sink.write(piece)
            await sink.drain()
    sink.close()


async def main(entrance: int, to: int) -> None:
    async def opened(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", to)
        except OSError:
            writer.close()  # the console is not there yet
            return
        await asyncio.gather(carry(reader, back), carry(there, writer))

    server = await asyncio.start_server(opened, None, entrance)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
