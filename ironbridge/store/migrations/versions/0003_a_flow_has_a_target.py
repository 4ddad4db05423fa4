"""a flow has a target: several flows may write to one"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("flows", sa.Column("target", sa.Text(), nullable=True))
    op.add_column("flows", sa.Column("named", sa.Boolean(), server_default=sa.false(), nullable=False))
    # Until now a flow and its target had one name.
    op.execute("UPDATE flows SET target = name")
    op.create_table(
        "names",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("flow", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target", "name", name=op.f("pk_names")),
    )
    op.create_index("ix_names_flow_subject", "names", ["flow", "subject"])
