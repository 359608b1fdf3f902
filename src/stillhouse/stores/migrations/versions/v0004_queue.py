"""Runs as a queue: priority, resource, attempts; what had stopped is `paused`, so that no server resumes it unasked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("resource", sa.String, nullable=False, server_default="cpu"))
    op.add_column("runs", sa.Column("ref", sa.String))
    op.add_column("runs", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("runs", sa.Column("max_attempts", sa.Integer, nullable=False, server_default="5"))
    op.add_column("runs", sa.Column("announced", sa.Boolean, nullable=False, server_default=sa.false()))
    runs = sa.table("runs", sa.column("state", sa.String), sa.column("announced", sa.Boolean))
    ended = runs.c.state.in_(("succeeded", "failed"))
    op.execute(runs.update().where(ended).values(announced=True))
    op.execute(runs.update().where(runs.c.state.in_(("stopped", "interrupted"))).values(state="paused"))
    op.execute(runs.update().where(runs.c.state == "stopping").values(state="pausing"))
    unannounced = runs.c.announced == sa.false()
    op.create_index("runs_unannounced", "runs", ["id"], sqlite_where=unannounced, postgresql_where=unannounced)
    op.create_index("runs_ref", "runs", ["ref"])
