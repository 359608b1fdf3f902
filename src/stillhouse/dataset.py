"""A dataset: an immutable version of examples, split, with a fingerprint.

`Dataset` is the manifest; the examples lie beside it in files, one JSON line each, so that `train()` can run from a folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from stillhouse.chat import Message
from stillhouse.records import Record, canonical_json, fingerprint
from stillhouse.upstream import NAME_PATTERN

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Example(Record):
    """One training row: a prompt, the teacher's answer, and where it came from."""

    id: str
    """Hash of prompt and answer."""
    messages: list[Message]
    """The prompt: everything before the answer."""
    answer: str
    """What the student learns to say (the teacher's text, an expert's edit, a label)."""
    reference: str | None = None
    """The right answer where somebody knows it (a gold label); graders compare with it, or else with `answer`."""
    split: Split = "train"
    group: str = ""
    """Hash of the normalised prompt; rows of one group never straddle splits."""
    source: str | None = None
    """`completion:ID` or `file:NAME:LINE`."""
    weight: float = Field(default=1.0, ge=0)
    metadata: dict[str, str] = {}
    tools: list[dict[str, Any]] | None = None
    rejected: str | None = None
    """A worse answer to the same prompt (the teacher's, where an expert corrected it), for methods that learn from pairs."""

    def json_bytes(self) -> bytes:
        """Canonical JSON. `rejected` stands in it where there is one only, so that older datasets keep their fingerprints."""
        return canonical_json(self.model_dump(mode="json", exclude={"rejected"} if self.rejected is None else None))


def example_id(messages: list[Message], answer: str, tools: list[dict[str, Any]] | None = None) -> str:
    """The identity of what is asked and answered."""
    return fingerprint(canonical_json(messages), answer.encode(), canonical_json(tools))


class Dataset(Record):
    """The manifest of one version; written last, so its presence means that the files are whole."""

    name: str = Field(pattern=NAME_PATTERN)
    fingerprint: str
    """`sha256:...` over the examples' canonical JSON, in order, and nothing else: equal content, equal fingerprint."""
    created: int
    counts: dict[Split, int]
    files: dict[Split, str]
    """File name within the dataset's folder -> its sha256 is in `hashes`."""
    hashes: dict[str, str]
    parents: tuple[str, ...] = ()
    """Fingerprints of the versions it was made from."""
    recipe: dict[str, Any] = {}
    """How it was made: filters, split shares and seed, removals. Enough to make it again."""
    removed: dict[str, int] = {}
    """Reason -> rows left out (filtered, exact duplicate, near duplicate, quarantined)."""
    teachers: dict[str, int] = {}
    """Model -> rows it answered."""
    may_train: dict[str, str] = {}
    """Upstream -> `yes`, or `no: ` and the reason: copied from the completions."""
    waived_leaks: int = 0
    """Pairs the leak check found and somebody accepted by name."""

    @property
    def short(self) -> str:
        """The beginning of its fingerprint, as it may be typed: `name@short`."""
        return self.fingerprint.removeprefix("sha256:")[:12]


def strictest(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Both accounts of upstreams' terms as one. Terms change; answers given under ones that forbid training stay forbidden."""
    return {**first, **{name: terms for name, terms in second.items() if first.get(name, "yes") == "yes"}}
