"""What is known of a file: the record that stands in the store, while its bytes lie under their own hash."""

from __future__ import annotations

from typing import Literal

from stillhouse.records import Record

UploadPurpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
"""Of files that clients upload."""
FilePurpose = UploadPurpose | Literal["fine-tune-results", "batch_output"]
"""The others are made here."""
MAX_FILENAME = 255


class FileRecord(Record):
    id: str
    bytes: int
    created_at: int
    """Seconds since the epoch."""
    filename: str
    """As its owner calls it. It is shown, and never becomes a path."""
    purpose: FilePurpose
    status: Literal["processed", "error"]
    status_details: str | None = None
    """The first lines that are wrong, in words."""
    expires_at: int | None = None
    sha256: str
    """Hex; the name of its bytes."""
    lines: int | None = None
    """Of a file that is read line by line."""

    def expired(self, now: float) -> bool:
        return self.expires_at is not None and self.expires_at <= now


def shown_name(name: str) -> str:
    """A name given by a client as it is kept: without folders or characters that cannot be shown, and not too long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in last if character.isprintable())[:MAX_FILENAME] or "upload"
