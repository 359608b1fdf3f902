"""The schema's history, and bringing a database to its newest revision.

Alembic is imported only when there is something to do: opening an up-to-date database costs one query. A new revision is one
file in `versions/` and one more name in REVISIONS.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select

from stillhouse.errors import SchemaTooNewError

REVISIONS = ("0001", "0002", "0003", "0004")
HEAD = REVISIONS[-1]

_version = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))  # Alembic's own


def revision(connection: Connection) -> str | None:
    """What the database records; None for a database without tables."""
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.scalar(select(_version.c.version_num))


def check_known(found: str | None) -> None:
    """Raises SchemaTooNewError for a revision that this code does not have."""
    if found is not None and found not in REVISIONS:
        raise SchemaTooNewError(
            f"A newer Stillhouse wrote this database: its schema is at {found}, this version knows up to {HEAD}. "
            "Upgrade with `pip install --upgrade stillhouse`, or use another --data-dir."
        )


def upgrade(connection: Connection, to: str = HEAD) -> None:
    """Apply what is missing, each revision with its own record."""
    from alembic import command  # slow to import, and rarely needed
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
