"""the tables say which releases may work on them"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
suits_from = "0005"  # programs that do not know of this rule refuse newer tables anyway


def upgrade() -> None:
    op.create_table(
        "suits",
        sa.Column("schema_from", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("schema_from", name=op.f("pk_suits")),
    )
