"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _create_completions()
    _create_beside_completions()
    _create_runs()
    _create_documents("datasets", "id", "name", "fingerprint")
    _create_documents("artifacts", "id")
    _create_documents("reports", "id", "name")
    _create_documents("upstreams", "name")
    _create_documents("keys", "id")
    _create_documents("routes", "id", "alias")
    op.create_index("ix_datasets_name", "datasets", ["name"])
    op.create_index("ix_datasets_fingerprint", "datasets", ["fingerprint"])
    op.create_index("ix_routes_alias", "routes", ["alias"])
    op.create_table("applied_writes", sa.Column("id", sa.String, primary_key=True), sa.Column("result", sa.JSON))


def _create_completions() -> None:
    op.create_table(
        "completions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("instance", sa.String, nullable=False),
        sa.Column("requested_model", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("upstream", sa.String, nullable=False),
        sa.Column("upstream_id", sa.String),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("finish_reason", sa.String),
        sa.Column("prompt_tokens", sa.BigInteger),
        sa.Column("completion_tokens", sa.BigInteger),
        sa.Column("first_byte_ms", sa.Float),
        sa.Column("total_ms", sa.Float),
        sa.Column("client_gone", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("may_train", sa.Text, nullable=False),
        sa.Column("prompt_hash", sa.String),
        sa.Column("response_sha256", sa.String),
    )
    started = sa.text("state = 'started'")
    op.create_index("completions_started", "completions", ["id"], sqlite_where=started, postgresql_where=started)
    op.create_index("completions_model", "completions", ["model"])
    op.create_index("completions_requested_model", "completions", ["requested_model"])


def _create_beside_completions() -> None:
    op.create_table(
        "completion_metadata",
        sa.Column("completion_id", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    op.create_index("completion_metadata_value", "completion_metadata", ["key", "value", "completion_id"])
    op.create_table(
        "completion_tags",
        sa.Column("completion_id", sa.String, primary_key=True),
        sa.Column("tag", sa.String, primary_key=True),
    )
    op.create_index("completion_tags_tag", "completion_tags", ["tag", "completion_id"])
    op.create_table(
        "payloads",
        sa.Column("completion_id", sa.String, primary_key=True),
        sa.Column("part", sa.String, primary_key=True),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "usage_counts",
        sa.Column("day", sa.String, primary_key=True),
        sa.Column("upstream", sa.String, primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("stored", sa.Boolean, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("pid", sa.BigInteger),
        sa.Column("boot", sa.String),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("heartbeat", sa.Float),
        sa.Column("started", sa.BigInteger),
        sa.Column("finished", sa.BigInteger),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.JSON, nullable=False),
    )
    op.create_table(
        "run_events",
        sa.Column("run", sa.String, primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("step", sa.BigInteger),
        sa.Column("metrics", sa.JSON, nullable=False),
    )


def _create_documents(name: str, key: str, *more: str) -> None:
    op.create_table(
        name,
        sa.Column(key, sa.String, primary_key=True),
        *(sa.Column(column, sa.String, nullable=False) for column in more),
        sa.Column("sequence", sa.String, nullable=False, unique=True),
        sa.Column("record", sa.JSON, nullable=False),
    )
