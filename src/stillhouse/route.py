"""An alias and the model that answers for it; rolling back is one step along its history."""

from __future__ import annotations

from pydantic import Field

from stillhouse.records import Record


class Route(Record):
    alias: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")
    model: str
    """A model id: of an upstream, or a student's artifact."""
    created: int
    note: str = ""
