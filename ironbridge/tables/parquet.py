"""
Writes the Parquet files of a table with Arrow, a few rows at a time, and tells what Delta's log says of each.

delta-rs writes files, too, but holds several times what is in them while it does so. Here it only makes the commit.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ironbridge.tables.choice import PLACE

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake.transaction import AddAction
    from pyarrow.fs import FileSystem

FILE = 16 * 1024 * 1024  # bytes of a file, about
ROWS = 8_192  # rows of a row group: it is held whole until it is written
BOUNDED = ("key", "_version", "_offset")
"""Only these columns' least and greatest values stand in the log. Those of the others may be personal, and outlive a row."""


def written(place: FileSystem, partition: int, columns: pa.Schema, rows: Iterable[pa.RecordBatch]) -> Iterator[AddAction]:
    """Write rows of one partition into as many files as they need; what the log is to say of each."""
    import pyarrow as pa

    held = pa.schema([each for each in columns if each.name != PLACE[0]])
    file: _File | None = None
    for batch in rows:
        if not batch.num_rows:
            continue
        file = file or _File(place, partition, held)
        file.write(batch)
        if file.size >= FILE:
            yield file.closed()
            file = None
    if file is not None:
        yield file.closed()


class _File:
    def __init__(self, place: FileSystem, partition: int, columns: pa.Schema) -> None:
        from pyarrow import fs, parquet

        folder = f"{PLACE[0]}={partition}"
        if isinstance(place.base_fs, fs.LocalFileSystem):  # an object store has no folders
            place.create_dir(folder)
        self._path = f"{folder}/part-{uuid.uuid4()}.zstd.parquet"
        self._partition, self._columns = partition, columns
        self._stream = place.open_output_stream(self._path)
        self._writer = parquet.ParquetWriter(
            self._stream, columns, compression="zstd", compression_level=1, write_statistics=list(BOUNDED)
        )
        self._rows = 0
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}

    @property
    def size(self) -> int:
        return int(self._stream.tell())

    def write(self, batch: pa.RecordBatch) -> None:
        from pyarrow import compute

        self._writer.write_batch(batch.select(self._columns.names).cast(self._columns), row_group_size=ROWS)
        self._rows += batch.num_rows
        for name in BOUNDED:
            bounds = compute.min_max(batch[name]).as_py()
            self._least[name] = min(self._least.get(name, bounds["min"]), bounds["min"])
            self._greatest[name] = max(self._greatest.get(name, bounds["max"]), bounds["max"])

    def closed(self) -> AddAction:
        from deltalake.transaction import AddAction

        self._writer.close()
        size = self.size
        self._stream.close()
        bounds = {"minValues": self._least, "maxValues": self._greatest, "nullCount": dict.fromkeys(BOUNDED, 0)}
        stats = json.dumps({"numRecords": self._rows, **bounds})
        partition, now = {PLACE[0]: str(self._partition)}, round(time.time() * 1000)
        return AddAction(self._path, size, partition, now, data_change=True, stats=stats)
