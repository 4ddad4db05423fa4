"""
One Delta table: made, grown, written and kept up, with the offsets of its topic in its own commits.

A commit holds rows and, as Delta's application transactions, the offset behind the last event of each partition that they come
from. So both are there or neither is; a large partition that is written anew has a commit of its own. Of two writers that stood
at the same offset the second one's commit is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from canonical.errors import MisconfiguredError, UnavailableError
from ironbridge.tables.choice import PLACE, TablePlan
from ironbridge.tables.files import filesystem
from ironbridge.tables.parquet import FILE, ROWS, written
from ironbridge.tables.schema import delta_types, grown

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import CommitProperties, DeltaTable, WriterProperties
    from deltalake.transaction import AddAction, RemoveAction
    from pyarrow.compute import Expression
    from pyarrow.dataset import Dataset

T = TypeVar("T")

_SETTINGS = {
    # Only these columns' least and greatest values stand in the log. Those of the others may be personal, and outlive a row.
    "delta.dataSkippingStatsColumns": "key,_version,_changed,_offset",
    "delta.checkpointInterval": "20",
    "delta.logRetentionDuration": "interval 7 days",
}


class OvertakenError(UnavailableError):
    """Another writer has written to the table meanwhile: nothing was written, and the writer begins again where it stands."""


class OpenTable:
    """A table as one writer sees it. `storage` is what delta-rs needs to reach it."""

    def __init__(self, plan: TablePlan, storage: Mapping[str, str]) -> None:
        self.plan = plan
        self._storage = dict(storage)
        self._table: DeltaTable | None = None

    @property
    def where(self) -> str:
        return f"tables: {self.plan.view}"

    def open(self, *, make: bool = True) -> bool:
        """
        Look at the table as it is now; make it if it is not there, and give it columns that it lacks. Without `make` nothing is
        changed. Tell whether it is there.

        :raises MisconfiguredError: a column has another type. :raises UnavailableError: the store is away.
        """
        from deltalake import DeltaTable

        with self._in_our_words():
            if not DeltaTable.is_deltatable(self.plan.uri, self._storage):
                if not make:
                    return False
                DeltaTable.create(
                    self.plan.uri, self.plan.columns, mode="ignore", partition_by=[PLACE[0]], name=self.plan.name,
                    configuration=_SETTINGS, storage_options=self._storage,
                )  # fmt: skip
            self._table = DeltaTable(self.plan.uri, storage_options=self._storage)
            if self._lacks() and make:
                self._grow()
        return True

    @property
    def _delta(self) -> DeltaTable:
        assert self._table is not None, "the table is open"  # noqa: S101
        return self._table

    # -- columns ---------------------------------------------------------------------------------------------------------

    def _lacks(self) -> bool:
        """
        Tell whether the table lacks columns.

        :raises MisconfiguredError: one has another type, or holds a field that the settings leave out.
        """
        there = {each["name"]: each["type"] for each in json.loads(self._delta.schema().to_json())["fields"]}
        wanted = delta_types(self.plan.columns)
        for name in there.keys() & wanted.keys():
            if not grown(there[name], wanted[name]):
                what = f"the column `{name}` has another type than this release gives it, or fields that the settings leave out"
                raise self._other(what)
        if more := [name for name in there.keys() - wanted.keys() if name in self.plan.entity.model_fields]:
            raise self._other(f"the column `{more[0]}` is of a class that the settings leave out")
        return any(there.get(name) != kind for name, kind in wanted.items())

    def _other(self, what: str) -> MisconfiguredError:
        return MisconfiguredError(
            self.where, what,
            fix=f"move {self.plan.uri} away, or delete it: the next start of `ironbridge run tables` makes it anew from what the "
            "topic holds. Its history then begins with that",
        )  # fmt: skip

    def _grow(self) -> None:
        """Give the table the columns that it lacks, by a commit without rows."""
        from deltalake import write_deltalake

        write_deltalake(self._delta, self.plan.columns.empty_table(), mode="append", schema_mode="merge")
        self._delta.update_incremental()

    # -- offsets ---------------------------------------------------------------------------------------------------------

    def offset(self, topic: str, partition: int) -> int:
        """The offset behind the last event of a partition that the table has; 0 if it has none."""
        with self._in_our_words():
            return self._delta.transaction_version(_app(topic, partition)) or 0

    def _commit(self, topic: str, until: Mapping[int, int]) -> CommitProperties:
        from deltalake import CommitProperties, Transaction

        stands = [Transaction(_app(topic, partition), offset) for partition, offset in sorted(until.items())]
        return CommitProperties(app_transactions=stands, max_commit_retries=5)

    # -- rows ------------------------------------------------------------------------------------------------------------

    def write(self, topic: str, rows: pa.Table) -> int:
        """
        Write rows of one topic, each in one commit with the offset behind it, and tell how many there were. Those that the table
        has are left out.

        :raises OvertakenError: another writer was faster.
        """
        import pyarrow as pa
        from pyarrow import compute

        stands = {p: self.offset(topic, p) for p in compute.unique(rows[PLACE[0]]).to_pylist()}
        known = pa.array([stands[p] for p in rows[PLACE[0]].to_pylist()], pa.int64())
        fresh = rows.filter(compute.greater_equal(rows[PLACE[1]], known))
        if not fresh.num_rows:
            return 0
        ends = fresh.group_by(PLACE[0]).aggregate([(PLACE[1], "max")])
        until = {p: last + 1 for p, last in zip(ends[PLACE[0]].to_pylist(), ends[f"{PLACE[1]}_max"].to_pylist(), strict=True)}
        with self._in_our_words():
            if self.plan.history:
                self._append(fresh, self._commit(topic, until))
            else:
                self._replace(topic, fresh, until)
        return int(fresh.num_rows)

    def _append(self, rows: pa.Table, commit: CommitProperties) -> None:
        from pyarrow import compute

        parts = compute.unique(rows[PLACE[0]]).to_pylist()
        divided = {each: rows.filter(compute.equal(rows[PLACE[0]], each)).to_batches(ROWS) for each in parts}
        self._keep("append", divided, commit)

    def _keep(self, mode: str, rows: Mapping[int, Iterable[pa.RecordBatch]], commit: CommitProperties) -> None:
        """Write rows by partition, and commit the files: beside what is there (`append`), or instead of it (`overwrite`)."""
        place = filesystem(self.plan.uri, self._storage)
        files: list[AddAction | RemoveAction] = []
        for partition, some in rows.items():
            files += written(place, partition, self.plan.columns, some)
        these = [(PLACE[0], "in", [str(partition) for partition in rows])]
        self._delta.create_write_transaction(
            files, mode, self._delta.schema(), [PLACE[0]], these if mode == "overwrite" else None, commit_properties=commit
        )
        self._delta.update_incremental()

    def _replace(self, topic: str, rows: pa.Table, until: Mapping[int, int]) -> None:
        """
        Put the newest version of each key in the place of what is there. If a key is there already, its partition is written
        anew, piece by piece. The rows of the other partitions are only added.
        """
        import pyarrow as pa
        from pyarrow import compute

        newest = _newest(rows)
        there = self._versions(newest)
        places = {name: place for name, (version, place) in newest.items() if version >= there.get(name, 0)}
        living = _living(rows.take(pa.array(places.values(), pa.int64())))
        stale: dict[int, list[str]] = {}
        for partition, key in there.keys() & places.keys():
            stale.setdefault(partition, []).append(key)
        if calm := {partition: offset for partition, offset in until.items() if partition not in stale}:
            some = living.filter(compute.is_in(living[PLACE[0]], pa.array(calm, pa.int32())))
            self._append(some, self._commit(topic, calm))
        if stale:
            fresh = living.filter(compute.is_in(living[PLACE[0]], pa.array(stale, pa.int32())))
            self._rewrite(stale, fresh, self._commit(topic, {partition: until[partition] for partition in stale}))

    def _rewrite(self, without: Mapping[int, Collection[str]], fresh: pa.Table, commit: CommitProperties) -> None:
        """Write partitions anew, with fresh rows instead of those of these keys."""
        from pyarrow import compute

        def rows(partition: int) -> Iterator[pa.RecordBatch]:
            yield from self._pieces(partition, without[partition])
            yield from fresh.filter(compute.equal(fresh[PLACE[0]], partition)).to_batches(ROWS)

        self._keep("overwrite", {partition: rows(partition) for partition in without}, commit)

    def _versions(self, keys: Collection[tuple[int, str]]) -> dict[tuple[int, str], int]:
        """The versions that the table has of these keys."""
        import pyarrow as pa
        from pyarrow import compute

        found: dict[tuple[int, str], int] = {}
        for partition in sorted({partition for partition, _ in keys}):
            wanted = pa.array([key for at, key in keys if at == partition], pa.string())
            for batch in self._scanned(["key", "_version"], compute.field(PLACE[0]) == partition):
                some = batch.filter(compute.is_in(batch["key"], wanted))
                names = zip(some["key"].to_pylist(), some["_version"].to_pylist(), strict=True)
                found |= {(partition, key): version for key, version in names}
        return found

    def _pieces(self, partition: int, without: Collection[str]) -> Iterator[pa.RecordBatch]:
        """The rows of a partition, but for those of these keys."""
        import pyarrow as pa
        from pyarrow import compute

        gone = pa.array(without, pa.string())
        for batch in self._scanned(self.plan.columns.names, compute.field(PLACE[0]) == partition):
            yield batch.filter(compute.invert(compute.is_in(batch["key"], gone)))

    def _scanned(self, columns: list[str], only: Expression) -> Iterator[pa.RecordBatch]:
        """The rows of which a condition holds, few at a time."""
        reading = {"batch_size": ROWS, "batch_readahead": 1, "fragment_readahead": 1, "use_threads": False}
        yield from self.dataset().scanner(columns=columns, filter=only, **reading).to_batches()

    # -- looking ---------------------------------------------------------------------------------------------------------

    def dataset(self) -> Dataset:
        """The rows as they are now, to be read by Arrow or DuckDB."""
        with self._in_our_words():
            return self._delta.to_pyarrow_dataset(filesystem=filesystem(self.plan.uri, self._storage))

    def sizes(self) -> list[tuple[int, int]]:
        """The rows and the bytes of each file."""
        import pyarrow as pa

        with self._in_our_words():
            files = pa.table(self._delta.get_add_actions(flatten=True))
        return list(zip(files["num_records"].to_pylist(), files["size_bytes"].to_pylist(), strict=True))

    def written(self) -> datetime | None:
        """When the newest commit was made."""
        with self._in_our_words():
            newest = self._delta.history(1)
        return datetime.fromtimestamp(newest[0]["timestamp"] / 1000, UTC) if newest else None

    # -- upkeep ----------------------------------------------------------------------------------------------------------

    def deleted_before(self, moment: datetime) -> list[str]:
        """The keys whose newest version in a history table says that the entity was deleted before a moment."""
        import pyarrow as pa
        from pyarrow import compute

        newest: dict[str, tuple[int, bool]] = {}
        with self._in_our_words():
            dead = [batch["key"] for batch in self._scanned(["key"], compute.field("_deleted"))]
            keys = pa.array({key for some in dead for key in some.to_pylist()}, pa.string())
            some = compute.field("key").isin(keys)
            for batch in self._scanned(["key", "_version", "_deleted", "_changed"], some):
                for key, version, deleted, changed in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    newest[key] = max(newest.get(key, (0, False)), (version, deleted and changed < moment))
        return [key for key, (_, gone) in newest.items() if gone]

    def erase(self, keys: Collection[str], *, owned: bool = False) -> int:
        """Delete all rows of these keys, and of what they own; how many rows there were. The old files stay until `vacuum`."""
        count = 0
        for some in _batched(sorted(keys), 500):
            listed = ", ".join("'" + key.replace("'", "''") + "'" for key in some)
            condition = f"key IN ({listed})" + (f" OR _owner IN ({listed})" if owned else "")
            with self._in_our_words():
                count += self._delta.delete(condition, writer_properties=_parquet())["num_deleted_rows"] or 0
        return count

    def compact(self, most: int) -> None:
        """Join the files of each partition where there are more than so many small ones a partition."""
        small = [size for _, size in self.sizes() if size < FILE // 2]
        with self._in_our_words():
            if len(small) > most * max(len(self._delta.partitions()), 1):
                self._delta.optimize.compact(target_size=FILE, max_concurrent_tasks=1, writer_properties=_parquet())

    def vacuum(self, hours: int) -> None:
        """
        Delete the files that the table has not needed for so many hours, also those that a killed writer left. With 0 hours the
        latter stay, because a writer may be about to commit them.
        """
        with self._in_our_words():
            self._delta.vacuum(hours, dry_run=False, enforce_retention_duration=False, full=hours > 0)

    # -- faults ----------------------------------------------------------------------------------------------------------

    @contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Raise delta-rs's errors as ours. Of their texts only the store's status is repeated: the rest may quote a row."""
        from deltalake.exceptions import CommitFailedError, DeltaError

        try:
            yield
        except CommitFailedError as error:
            what = "another writer has written to the table meanwhile; it begins again where the table stands"
            fix = "let one worker write each entity's tables, see `tables.entities`"
            raise OvertakenError(self.where, what, fix=fix) from error
        except (DeltaError, OSError) as error:
            said = _STATUS.search(str(error))
            status = f": {said[0]}" if said else ""
            raise UnavailableError(
                self.where, f"its store does not do as asked ({type(error).__name__}{status})",
                fix="check the place, who may write there, and `tables.storage`",
            ) from error  # fmt: skip


_STATUS = re.compile(r"\b[45][0-9]{2} [A-Z][A-Za-z]+\b|os error [0-9]+")


def _batched(keys: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    return (keys[begin : begin + most] for begin in range(0, len(keys), most))


def _app(topic: str, partition: int) -> str:
    """The name under which a commit notes the offset of a partition."""
    return f"{topic}/{partition}"


def _parquet() -> WriterProperties:
    from deltalake import WriterProperties

    return WriterProperties(compression="ZSTD", max_row_group_size=ROWS)


def _newest(rows: pa.Table) -> dict[tuple[int, str], tuple[int, int]]:
    """By partition and key, the newest version among the rows and the place of its row."""
    found: dict[tuple[int, str], tuple[int, int]] = {}
    columns = (rows[name].to_pylist() for name in (PLACE[0], "key", "_version"))
    for place, (partition, key, version) in enumerate(zip(*columns, strict=True)):
        if version >= found.get((partition, key), (0, 0))[0]:
            found[partition, key] = (version, place)
    return found


def _living(rows: pa.Table) -> pa.Table:
    """The rows without those that say that an entity is gone from their partition."""
    from pyarrow import compute

    return rows.filter(compute.invert(compute.or_(rows["_deleted"], compute.is_valid(rows["_moved_to"]))))
