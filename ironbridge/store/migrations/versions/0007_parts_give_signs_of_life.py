"""parts give signs of life, so that a part that should run and does not is known"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
suits_from = "0006"


def upgrade() -> None:
    op.create_table(
        "signs",
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("part", name=op.f("pk_signs")),
    )
