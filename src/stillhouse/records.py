"""`Record`, the shape of everything that is kept or passed between floors: frozen, strict about names, JSON both ways."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """A frozen value. Unknown fields are an error, so that a typing mistake in a file is seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def json_bytes(self) -> bytes:
        """Canonical JSON: sorted keys, UTF-8, no white space. What fingerprints are made of."""
        return canonical_json(self.model_dump(mode="json"))


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no white space, so that equal values have equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def fingerprint(*parts: bytes) -> str:
    """`sha256:` and the hex digest over length-prefixed parts (so that moving a border between parts changes it)."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def problems_of(error: ValidationError) -> str:
    """What is wrong with each field: `training.steps: Input should be ... (got 0)`, one after the other."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc']))}: {_said(each)} (got {each['input']!r})" if each["loc"] else each["msg"]
        for each in error.errors()
    )


def _said(problem: Mapping[str, Any]) -> str:
    """Pydantic's words, and our own where its speak of how it checks instead of what to write."""
    about = problem.get("ctx", {})
    if problem["type"] == "extra_forbidden":
        return "there is no such field"
    if problem["type"] == "union_tag_not_found":
        return f"say first which it is, by {str(about['discriminator']).strip(chr(39))} = ..."
    if problem["type"] == "union_tag_invalid":
        return f"{str(about['discriminator']).strip(chr(39))} is one of {about['expected_tags']}"
    return str(problem["msg"])
