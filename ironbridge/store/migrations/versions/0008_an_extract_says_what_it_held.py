"""an extract's region says what else the file held when it was last read"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
suits_from = "0006"  # programs of that release leave the column alone


def upgrade() -> None:
    op.add_column("regions", sa.Column("told", sa.Text(), nullable=True))
