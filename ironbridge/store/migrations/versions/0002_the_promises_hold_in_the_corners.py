"""the promises hold in the corners: editions are numbered, an old state and a log made anew are noticed"""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def upgrade() -> None:
    op.create_table(
        "guarded",
        sa.Column("stream", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("began", sa.Double(), nullable=False),
        _number("done"),
        _number("base"),
        _number("held"),
        sa.Column("since", sa.Double(), nullable=True),
        sa.Column("allowed", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["stream"], ["streams.id"], name=op.f("fk_guarded_stream")),
        sa.PrimaryKeyConstraint("stream", "region", "what", name=op.f("pk_guarded")),
    )
    op.create_table(
        "hands",
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("hand", sa.Text(), nullable=False),
        _number("sent"),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "hand", name=op.f("pk_hands")),
    )
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rights", sa.Text(), nullable=False),
        sa.Column("refresh", sa.LargeBinary(), nullable=True),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("checked", sa.Double(), nullable=False),
        sa.Column("asked", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
    )
    op.create_table(
        "keys",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_keys")),
    )
    installation = op.create_table(
        "installation", sa.Column("id", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("id", name=op.f("pk_installation"))
    )
    op.bulk_insert(installation, [{"id": uuid4().hex}])
    op.add_column("records", sa.Column("filled", sa.LargeBinary(), nullable=True))
    op.add_column("records", sa.Column("former", sa.LargeBinary(), nullable=True))
    op.add_column("streams", _number("events"))
    # Before this release the versions of a key counted its events.
    op.execute("UPDATE streams SET events = COALESCE((SELECT sum(version) FROM records WHERE stream = streams.id), 0)")
    op.add_column("offsets", sa.Column("last", sa.Text(), nullable=True))
    op.add_column("offsets", _number("since"))
    op.add_column("offsets", sa.Column("first", sa.Text(), nullable=True))
    op.add_column("copies", _number("steps"))
    op.add_column("copies", sa.Column("at", sa.Double(), nullable=True))
    op.add_column("ingested", sa.Column("hidden", sa.BigInteger(), nullable=True))
    op.add_column("ingested", sa.Column("hidden_since", sa.Double(), nullable=True))
    op.add_column("flows", _number("number"))
    op.add_column("flows", sa.Column("reopened", sa.Text(), nullable=True))
    op.add_column("flows", sa.Column("alive", sa.Double(), nullable=True))
    op.add_column("flows", sa.Column("lifted", sa.Double(), nullable=True))
    op.add_column("flows", sa.Column("standby", sa.Double(), nullable=True))
    op.add_column("flows", _number("trail"))
    op.add_column("subjects", _number("edition"))
    op.add_column("subjects", sa.Column("sent", sa.Double(), nullable=True))
    for table in ("subjects", "problems", "rejects"):
        op.add_column(table, sa.Column("cause", sa.Text(), nullable=True))
    stuck = sa.text("state IN ('parked', 'waiting', 'dropped')")
    op.create_index(
        "ix_subjects_flow_state_cause", "subjects", ["flow", "state", "cause", "subject", "since"],
        postgresql_where=stuck, sqlite_where=stuck,
    )  # fmt: skip
    op.create_index("ix_problems_stream_cause", "problems", ["stream", "cause", "key", "since"])
    op.create_index("ix_rejects_flow_cause", "rejects", ["flow", "cause", "place", "since"])
