"""The tables, as SQLAlchemy Core knows them: every column a portable type, no dialect's own SQL.

The hot table `completions` holds what lists, filters and counts need; bytes lie in `payloads`, searched text in `search_texts`.
No foreign keys: writes keep children with their parents, and a check on every insert would be paid on the hot path.
Order is by UUIDv7 (`id`, `sequence`), never by a clock or a counter. Migrations create all of this; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    false,
    text,
)

metadata = MetaData()

completions = Table(
    "completions",
    metadata,
    Column("id", String, primary_key=True),
    Column("created", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("instance", String, nullable=False),
    Column("requested_model", String, nullable=False),
    Column("model", String, nullable=False),
    Column("upstream", String, nullable=False),
    Column("upstream_id", String),
    Column("stream", Boolean, nullable=False),
    Column("status", Integer),
    Column("finish_reason", String),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("first_byte_ms", Float),
    Column("total_ms", Float),
    Column("client_gone", Boolean, nullable=False),
    Column("error", Text),
    Column("may_train", Text, nullable=False),
    Column("prompt_hash", String),
    Column("response_sha256", String),
)
STARTED = text("state = 'started'")
Index("completions_started", completions.c.id, sqlite_where=STARTED, postgresql_where=STARTED)  # small: what recovery looks for
Index("completions_model", completions.c.model)
Index("completions_requested_model", completions.c.requested_model)

completion_metadata = Table(
    "completion_metadata",
    metadata,
    Column("completion_id", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)
Index("completion_metadata_value", completion_metadata.c.key, completion_metadata.c.value, completion_metadata.c.completion_id)

completion_tags = Table(
    "completion_tags",
    metadata,
    Column("completion_id", String, primary_key=True),
    Column("tag", String, primary_key=True),
)
Index("completion_tags_tag", completion_tags.c.tag, completion_tags.c.completion_id)

payloads = Table(
    "payloads",
    metadata,
    Column("completion_id", String, primary_key=True),
    Column("part", String, primary_key=True),  # `request`, or `response`: rewriting one leaves the other's pages alone
    Column("data", LargeBinary, nullable=False),  # zstd
)

search_texts = Table(
    "search_texts",
    metadata,
    Column("number", Integer, primary_key=True),  # what the full text index calls a row; never leaves the store
    Column("completion_id", String, nullable=False, unique=True),
    Column("words", Text, nullable=False),
)

search_pending = Table(
    "search_pending",
    metadata,
    Column("completion_id", String, primary_key=True),  # finished, not yet indexed
)

usage_counts = Table(
    "usage_counts",
    metadata,
    Column("day", String, primary_key=True),
    Column("upstream", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("stored", Boolean, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("name", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("spec", JSON, nullable=False),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("resource", String, nullable=False, server_default="cpu"),
    Column("ref", String),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("max_attempts", Integer, nullable=False, server_default="5"),
    Column("announced", Boolean, nullable=False, server_default=false()),
    Column("pid", BigInteger),
    Column("boot", String),
    Column("epoch", Integer, nullable=False),
    Column("heartbeat", Float),
    Column("started", BigInteger),
    Column("finished", BigInteger),
    Column("step", BigInteger, nullable=False),
    Column("steps", BigInteger),
    Column("error", Text),
    Column("result", JSON, nullable=False),
)

UNANNOUNCED = runs.c.announced == false()
Index("runs_unannounced", runs.c.id, sqlite_where=UNANNOUNCED, postgresql_where=UNANNOUNCED)  # small: what a dispatcher looks at
Index("runs_ref", runs.c.ref)

run_events = Table(
    "run_events",
    metadata,
    Column("run", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("time", Float, nullable=False),
    Column("level", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("step", BigInteger),
    Column("metrics", JSON, nullable=False),
)


def _documents(name: str, key: str, *columns: Column[str]) -> Table:
    """A small table: one key, the record as JSON, and `sequence` (a UUIDv7) for its order."""
    return Table(
        name,
        metadata,
        Column(key, String, primary_key=True),
        *columns,
        Column("sequence", String, nullable=False, unique=True),
        Column("record", JSON, nullable=False),
    )


datasets = _documents(
    "datasets",
    "id",
    Column("name", String, nullable=False, index=True),
    Column("fingerprint", String, nullable=False, index=True),
)
artifacts = _documents("artifacts", "id")
reports = _documents("reports", "id", Column("name", String, nullable=False))
upstreams = _documents("upstreams", "name")
keys = _documents("keys", "id")
routes = _documents("routes", "id", Column("alias", String, nullable=False, index=True))

documents = Table(
    "documents",
    metadata,
    Column("kind", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("parent", String, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("record", JSON, nullable=False),
)
Index("documents_order", documents.c.kind, documents.c.parent, documents.c.created, documents.c.id)

applied_writes = Table(
    "applied_writes",
    metadata,
    Column("id", String, primary_key=True),  # of a write that may be sent twice: over HTTP, or from the spool
    Column("result", JSON),
)
