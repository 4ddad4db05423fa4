"""a record keeps the key that it is published under when its row is numbered anew"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("records", sa.Column("kept", sa.Text(), nullable=True))
    kept = sa.text("kept IS NOT NULL")
    op.create_index("ix_records_stream_kept", "records", ["stream", "kept"], postgresql_where=kept, sqlite_where=kept)
    stray = sa.text("(version = 0 OR deleted) AND fingerprint IS NOT NULL")
    op.create_index(
        "ix_records_stream_stray", "records", ["stream", "fingerprint"], postgresql_where=stray, sqlite_where=stray
    )
