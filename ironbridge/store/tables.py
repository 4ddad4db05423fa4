"""
The state's tables. Times are seconds since 1970 UTC (double), so that both databases hold the same.

`migrations/` builds them; a test holds that what it builds is what stands here.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy import false as no

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null)


def _number(name: str, *, key: bool = False, null: bool = False, default: str | None = "0") -> Column[int]:
    server = None if key or null else default
    return Column(name, BigInteger, primary_key=key, nullable=null, autoincrement=False, server_default=server)


# What an adapter remembers of what it published: a view of Kafka, see adapters/engine/journal.py.
streams = Table(
    "streams",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("adapter"),
    _text("name"),
    _number("sweep"),
    _text("after", null=True),
    _text("tail", null=True),
    Column("started", Double),
    Column("completed", Double),
    Column("looked", Double),  # when it was last looked at to the end, by a sweep, a tail, a folder's files or listening
    _number("read"),
    _number("published"),
    # The number of all events ever published; `published` counts those of the running sweep.
    _number("events"),
    _number("held"),
    _text("error", null=True),
    Column("paused", Boolean, nullable=False, server_default=no()),
    # When a person asked for the whole stream to be compared again; None once its reader has taken that up.
    Column("backfill", Double),
    Index("uq_streams_adapter_name", "adapter", "name", unique=True),
)
_KEPT = text("kept IS NOT NULL")
STRAY = "(version = 0 OR deleted) AND fingerprint IS NOT NULL"
"""A row that waits for its reading's end, see adapters/engine/numbers.py: few at any time, and mostly none."""
records = Table(
    "records",
    metadata,
    Column("stream", Integer, ForeignKey("streams.id"), primary_key=True, autoincrement=False),
    _text("key", key=True),
    _text("entity"),
    _text("owner"),
    _text("region", null=True),
    Column("row_digest", LargeBinary),
    Column("fingerprint", LargeBinary),
    _number("version"),
    Column("deleted", Boolean, nullable=False),
    Column("lost", Boolean, nullable=False),
    _text("topic", null=True),
    _number("partition", null=True),
    _number("offset", null=True),
    # The fields that held something when it was last published, and fingerprints of earlier content: see the engine's guard.py.
    Column("filled", LargeBinary),
    Column("former", LargeBinary),
    _text("kept", null=True),  # the key that it is published under, where its row has been numbered anew
    Index("ix_records_stream_region", "stream", "region"),
    Index("ix_records_stream_kept", "stream", "kept", postgresql_where=_KEPT, sqlite_where=_KEPT),
    Index("ix_records_stream_stray", "stream", "fingerprint", postgresql_where=text(STRAY), sqlite_where=text(STRAY)),
)
regions = Table(
    "regions",
    metadata,
    Column("stream", Integer, ForeignKey("streams.id"), primary_key=True, autoincrement=False),
    _text("name", key=True),
    Column("digest", LargeBinary),
    _number("sweep"),
    _text("told", null=True),  # of an extract: what it held when it was last read, as JSON, see extracts.py
)
problems = Table(
    "problems",
    metadata,
    Column("stream", Integer, ForeignKey("streams.id"), primary_key=True, autoincrement=False),
    _text("key", key=True),
    _text("field"),
    _text("rule"),
    _text("shape"),
    _text("what"),
    Column("since", Double, nullable=False),
    _text("cause", null=True),  # see causes.py
    Index("ix_problems_stream_cause", "stream", "cause", "key", "since"),
)
offsets = Table(
    "offsets",
    metadata,
    _text("adapter", key=True),
    _text("topic", key=True),
    _number("partition", key=True),
    _number("next"),
    # The event that lies before `next`: if another one lies there, the log was cut off or made anew. And an older event, with
    # the offset behind it, which still has to prove that the log was not made anew between the two: see the engine's lookout.py.
    Column("last", Text),
    _number("since"),
    Column("first", Text),
)
copies = Table(
    "copies",
    metadata,
    _text("adapter", key=True),
    _number("claims"),
    # Counts the saves under this claim: a state that went back to a copy has a smaller count than its adapter.
    _number("steps"),
    # When the memory last held all that the adapter's topics hold.
    Column("at", Double),
)
# How much of a stream (or, with a region, of one extract) was deleted or emptied within a day, and how much is held back
# until a person allows it: see adapters/engine/guard.py.
guarded = Table(
    "guarded",
    metadata,
    Column("stream", Integer, ForeignKey("streams.id"), primary_key=True, autoincrement=False),
    _text("region", key=True),
    _text("what", key=True),
    Column("began", Double, nullable=False),
    _number("done"),
    _number("base"),
    _number("held"),
    Column("since", Double),
    _number("allowed", null=True),
)

# What the flows know and what they did: facts are shared, the ledger is per flow, see flows/engine/ledger.py.
facts = Table(
    "facts",
    metadata,
    _text("key", key=True),
    _text("entity"),
    _text("owner"),
    _text("source"),
    _number("version"),
    Column("data", LargeBinary),
    Column("at", Double, nullable=False),
    _text("traceparent", null=True),
    Index("ix_facts_owner", "owner"),
)
flows = Table(
    "flows",
    metadata,
    _text("name", key=True),
    _text("edition", null=True),
    _text("error", null=True),
    Column("paused", Boolean, nullable=False, server_default=no()),
    # Editions are numbered as they are opened. `reopened` is the place that the second look at the subjects has reached for
    # the open edition (None: its end). `alive` is the last sign of life of a worker of the open edition.
    _number("number"),
    _text("reopened", null=True),
    Column("alive", Double),
    # When a person last lifted the silence that the flow's target had asked for; and when a worker of another edition than
    # the open one last reported that it stands by.
    Column("lifted", Double),
    Column("standby", Double),
    # The beginning of the latest day that the open edition was at work on.
    Column("day", Double),
    # The offset up to which this state knows the flow's trail in Kafka, see flows/engine/trail.py.
    _number("trail"),
    # The target that it writes to, known once it has run; and whether all that the target holds for it stands in `names`.
    _text("target", null=True),
    Column("named", Boolean, nullable=False, server_default=no()),
)
# Which flow, and which of its subjects, writes which document: see names.py.
names = Table(
    "names",
    metadata,
    _text("target", key=True),
    _text("name", key=True),
    _text("flow"),
    _text("subject"),
    Index("ix_names_flow_subject", "flow", "subject"),
)
# When each part that runs last gave a sign of life, e.g. `adapter/liquidlogic`: see signs.py.
signs = Table("signs", metadata, _text("part", key=True), Column("at", Double, nullable=False))
# How many times each worker's hand has sent something, as this state knows it; the trail in Kafka says it independently.
hands = Table(
    "hands",
    metadata,
    _text("flow", key=True),
    _text("hand", key=True),
    _number("sent"),
    Column("at", Double, nullable=False),
)
# The name of this state among all that ever shared its Kafka topics: one row.
installation = Table("installation", metadata, _text("id", key=True))
# From which schema on a program can work on these tables, see schema.py: one row.
suits = Table("suits", metadata, _text("schema_from", key=True))
# What a fact was before: a trigger of the database keeps it when a newer version takes its place, so that a fact which
# is there for the first time costs nothing.
versions = Table(
    "versions",
    metadata,
    _text("key", key=True),
    _number("version", key=True),
    _text("entity"),
    Column("at", Double, nullable=False),
    _text("traceparent", null=True),
    Column("data", LargeBinary),
)
# Whom a number names: what `explain` finds a record by, besides its key. Personal data, as the facts are.
identifiers = Table("identifiers", metadata, _text("value", key=True), _text("key", key=True))
_WAITS = text("waiting_on IS NOT NULL")
_HELD = text("ref IS NOT NULL")
_RESTS = text("recheck IS NOT NULL AND state IN ('agreed', 'parked', 'waiting')")
_STUCK = text("state IN ('parked', 'waiting', 'dropped')")
subjects = Table(
    "subjects",
    metadata,
    _text("flow", key=True),
    _text("subject", key=True),
    _number("partition"),
    _text("state"),
    _number("urgency"),
    _number("seq"),
    _number("changes"),
    Column("since", Double, nullable=False),
    Column("due", Double),
    _text("claim", null=True),
    _number("attempts"),
    _text("reason", null=True),
    _text("waiting_on", null=True),
    _text("ref", null=True),
    _text("tag", null=True),
    Column("digest", LargeBinary),
    Column("document", LargeBinary),
    Column("doubtful", LargeBinary),
    Column("confirmed", Double),
    Column("observed", Double),
    _text("traces", null=True),
    # The number of the edition that last settled it, and when something was last sent for it.
    _number("edition"),
    Column("sent", Double),
    # The reason without the parts that only this record has, as an id: see causes.py.
    _text("cause", null=True),
    # The beginning of the first day on which its outcome may be another one, though its facts are the same.
    Column("recheck", Double),
    Index("ix_subjects_flow_state_urgency_since", "flow", "state", "urgency", "since"),
    # Few wait: the others shall not pay for the index with every change.
    Index("ix_subjects_flow_waiting_on", "flow", "waiting_on", postgresql_where=_WAITS, sqlite_where=_WAITS),
    Index("ix_subjects_flow_recheck", "flow", "recheck", postgresql_where=_RESTS, sqlite_where=_RESTS),
    Index("ix_subjects_flow_ref", "flow", "ref", postgresql_where=_HELD, sqlite_where=_HELD),
    # Stuck subjects are counted by their cause, and read a page at a time, from this index alone.
    Index(
        "ix_subjects_flow_state_cause", "flow", "state", "cause", "subject", "since", postgresql_where=_STUCK, sqlite_where=_STUCK
    ),
    # A subject is written four times between its event and its confirmation: room for that on its page.
    postgresql_with={"fillfactor": 70},
)
attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("flow"),
    _text("subject"),
    Column("at", Double, nullable=False),
    _text("outcome"),
    _text("detail", null=True),
    _text("trace", null=True),
    Index("ix_attempts_flow_subject", "flow", "subject"),
)
ingested = Table(
    "ingested",
    metadata,
    _text("flow", key=True),
    _text("topic", key=True),
    _number("partition", key=True),
    _number("next"),
    _text("last"),
    # How far a lost state had read it: until all partitions are there again, nothing of the flow is delivered.
    _number("again", null=True),
    # How many records an unfinished transaction hides, and since when.
    _number("hidden", null=True),
    Column("hidden_since", Double),
)
rejects = Table(
    "rejects",
    metadata,
    _text("flow", key=True),
    _text("place", key=True),
    _text("what"),
    Column("since", Double, nullable=False),
    _text("cause", null=True),
    Index("ix_rejects_flow_cause", "flow", "cause", "place", "since"),
)
budgets = Table(
    "budgets",
    metadata,
    _text("target", key=True),
    # What was spent is made up for by then, and the target wants silence until then.
    Column("full_at", Double, nullable=False),
    Column("held", Double, nullable=False, server_default="0"),
)
# What people did, and why: append-only, the database itself refuses to change or delete a row.
audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    _text("who"),
    _text("through"),
    _text("action"),
    _text("what"),
    _text("why"),
)
# The people who have signed in to the console: see console/sessions.py. `id` is a digest of the word in the cookie.
sessions = Table(
    "sessions",
    metadata,
    _text("id", key=True),
    _text("subject"),
    _text("name"),
    _text("rights"),
    Column("refresh", LargeBinary),
    # When it ends, when the provider last confirmed it, and when it was last asked to.
    Column("until", Double, nullable=False),
    Column("checked", Double, nullable=False),
    Column("asked", Double, nullable=False),
)
# Secrets that the processes of one state share, e.g. the one that signs the console's cookies.
keys = Table("keys", metadata, _text("name", key=True), _text("value"))
# What `reconcile` found: the certificate whole, as JSON.
certificates = Table(
    "certificates",
    metadata,
    Column("id", Integer, primary_key=True),
    _text("flow"),
    Column("verified", Double, nullable=False),
    Column("agreed", Boolean, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Index("ix_certificates_flow", "flow"),
)
