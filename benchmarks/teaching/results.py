"""What was measured already, in a file: a run that was cut off goes on behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Results:
    """One line of JSON a trained model. A line that was cut off is taken away, and measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:
            path.write_bytes(whole)
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in whole.splitlines()]

    def find(self, **said: Any) -> dict[str, Any] | None:
        """The last row whose fields are these."""
        return next((row for row in reversed(self.rows) if said.items() <= row.items()), None)

    def add(self, row: dict[str, Any]) -> None:
        """Behind the others, at once on disk."""
        self.rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
