"""No database's own SQL outside the one place that owns dialects; and what that place says of its database."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import stillhouse
from stillhouse.settings import Settings
from stillhouse.stores.dialects import SQLite

OWNED = re.compile(
    r"\bPRAGMA\b|\bFTS5\b|BEGIN IMMEDIATE|on_conflict|INSERT OR |VACUUM|\browid\b|json_extract|"
    r"sqlalchemy\.dialects|import sqlite3|\bsqlite3\.",
    re.IGNORECASE,
)
HEALTH_ONLY = {"cli/doctor.py"}
"""Opens no database of its own: it catches what `health()` may raise."""


def test_no_dialect_speaks_outside_its_place() -> None:
    root = Path(stillhouse.__file__).parent
    strangers = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        if path.name != "dialects.py" and path.relative_to(root).as_posix() not in HEALTH_ONLY
        for line in path.read_text(encoding="utf-8").splitlines()
        if OWNED.search(line)
    ]
    assert strangers == []


def test_health_tells_the_version_and_what_is_wrong(settings: Settings) -> None:
    health = SQLite(settings.database).health()
    assert (health["database"], health["version"], health["problems"]) == ("sqlite", sqlite3.sqlite_version, [])
    content = bytearray(settings.database.read_bytes())
    content[3 * 4096 : 4 * 4096] = bytes(4096)
    settings.database.write_bytes(content)
    assert SQLite(settings.database).health()["problems"] != []
