"""Bringing databases of every age to the newest schema, with a copy of what was there; refusing what is newer than this code."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from stillhouse.completion import CompletionQuery
from stillhouse.errors import SchemaTooNewError, StoreBusyError
from stillhouse.settings import Settings
from stillhouse.stores import migrations
from stillhouse.stores.dialects import SQLite
from stillhouse.stores.lock import DatabaseLock
from stillhouse.stores.opening import open_store
from stillhouse.stores.payloads import pack
from stillhouse.stores.tables import completions, metadata, payloads
from tests.stores.samples import completion, ended, keep, request_bytes, response_bytes


@pytest.fixture
def oldest(tmp_path: Path) -> Settings:
    """A data folder whose database is at the first revision, without rows."""
    settings = Settings(data_dir=tmp_path)
    engine = SQLite(settings.database).writer()
    with engine.connect() as connection, connection.begin():
        migrations.upgrade(connection, migrations.REVISIONS[0])
    engine.dispose()
    return settings


def version_of(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(version)


def test_the_migrations_make_the_tables_that_the_code_knows(settings: Settings) -> None:
    engine = SQLite(settings.database).readers()
    with engine.connect() as connection:
        options = {"include_object": _is_ours, "compare_type": True}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    assert differences == []


def test_the_listed_revisions_are_the_ones_there_are() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == migrations.REVISIONS


def test_the_oldest_schema_without_rows_is_brought_up(oldest: Settings) -> None:
    store = open_store(oldest, role="server")
    assert store.completions(CompletionQuery()).items == []
    keep(store)
    store.close()
    assert version_of(oldest.database) == migrations.HEAD


def test_the_oldest_schema_with_rows_keeps_them_and_has_a_backup(oldest: Settings) -> None:
    old = ended(completion())
    engine = SQLite(oldest.database).writer()
    with engine.connect() as connection, connection.begin():
        connection.execute(completions.insert(), old.model_dump(exclude={"metadata", "tags"}))
        for part, data in (("request", request_bytes("quokka")), ("response", response_bytes("a"))):
            connection.execute(payloads.insert(), {"completion_id": old.id, "part": part, "data": pack(data)})
    engine.dispose()
    store = open_store(oldest, role="command")
    assert store.completions(CompletionQuery(text="quokka")).items == [old]
    store.close()
    (backup,) = (oldest.data_dir / "backups").iterdir()
    assert version_of(backup) == migrations.REVISIONS[0]
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT id FROM completions").fetchall() == [(old.id,)]


def test_migrating_needs_the_lock(oldest: Settings) -> None:
    holder = DatabaseLock(oldest.data_dir)
    assert holder.acquire()
    with pytest.raises(StoreBusyError):
        open_store(oldest, role="command", patience=0)
    holder.release()
    assert version_of(oldest.database) == migrations.REVISIONS[0]


@pytest.mark.parametrize("role", ["server", "command", "worker"])
def test_a_newer_schema_is_refused_untouched(settings: Settings, role: Any) -> None:
    with closing(sqlite3.connect(settings.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = settings.database.read_bytes()
    with pytest.raises(SchemaTooNewError, match=r"newer Stillhouse .* 9999"):
        open_store(settings, role=role)
    assert settings.database.read_bytes() == before


def test_opening_an_up_to_date_database_imports_no_alembic(settings: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from stillhouse.settings import Settings;"
        "from stillhouse.stores.opening import open_store;"
        "open_store(Settings(data_dir=Path(sys.argv[1])), role='server').close();"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(settings.data_dir)], check=False).returncode == 0


def _is_ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    return not (name or "").startswith(("search_index", "alembic_version"))
