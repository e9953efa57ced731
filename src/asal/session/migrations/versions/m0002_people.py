"""People: who they are, the tokens that they come with, and who has which image before them."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Add the tables beside the events."""
    op.create_table(
        "leases",
        sa.Column("image", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("person", sa.String, primary_key=True),
        sa.Column("tab", sa.String, nullable=False),
        sa.Column("renewed", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "people",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("added", sa.String, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("until", sa.Float),
        if_not_exists=True,
    )
