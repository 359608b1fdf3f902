"""Documents: one table for the records of API resources that need no columns of their own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "documents",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("parent", sa.String, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
    )
    op.create_index("documents_order", "documents", ["kind", "parent", "created", "id"])
