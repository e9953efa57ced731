"""The events, as the first asal made them. A record without a revision is taken to be here."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    """Make the table of events, where it is not there yet."""
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        sa.Column("image", sa.BigInteger),
        sa.Column("label", sa.Integer),
        sa.Column("by", sa.String),
        sa.Column("body", sa.Text, nullable=False),
        if_not_exists=True,
    )
