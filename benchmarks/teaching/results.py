"""What was measured already, in a file: a run that was cut off goes on behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Results:
    """One line of JSON a trained student."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def has(self, method: str, seed: int) -> bool:
        return any(row["method"] == method and row["seed"] == seed for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
