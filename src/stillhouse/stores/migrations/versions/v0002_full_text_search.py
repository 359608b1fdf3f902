"""Full text search; completions that are there already are queued, and indexed while the server is idle."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from stillhouse.stores.dialects import create_search

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "search_texts",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("completion_id", sa.String, nullable=False, unique=True),
        sa.Column("words", sa.Text, nullable=False),
    )
    op.create_table("search_pending", sa.Column("completion_id", sa.String, primary_key=True))
    create_search(op.get_bind())
    completions = sa.table("completions", sa.column("id"), sa.column("state"))
    pending = sa.table("search_pending", sa.column("completion_id"))
    finished = sa.select(completions.c.id).where(completions.c.state != "started")
    op.execute(pending.insert().from_select(["completion_id"], finished))
