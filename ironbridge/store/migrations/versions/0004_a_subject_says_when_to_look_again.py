"""a subject says from which day on its outcome may be another: a new day looks at those subjects alone"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The release that brings these columns opens an edition of its own, which looks at every subject and fills them.
    op.add_column("flows", sa.Column("day", sa.Double(), nullable=True))
    op.add_column("subjects", sa.Column("recheck", sa.Double(), nullable=True))
    rests = sa.text("recheck IS NOT NULL AND state IN ('agreed', 'parked', 'waiting')")
    op.create_index(
        "ix_subjects_flow_recheck", "subjects", ["flow", "recheck"], postgresql_where=rests, sqlite_where=rests
    )
