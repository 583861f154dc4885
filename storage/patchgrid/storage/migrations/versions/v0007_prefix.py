"""How many tokens stand before a pair's texts.

Revision 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("outcome", sa.Column("prefix", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("outcome", "prefix")
