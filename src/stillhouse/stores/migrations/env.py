"""What Alembic runs: the steps between two revisions, on the connection it was handed. No engine, no configuration file."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
