"""Examples from stored completions or from rows of files, each with where it came from; what is left out is counted by reason.

Only whole answers become examples: a completion that is not `complete`, or that its token limit cut off, would teach the
student to break off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from stillhouse.chat import ChatRequest, Message
from stillhouse.completion import Completion
from stillhouse.dataset import Example, Split, example_id, strictest
from stillhouse.errors import UsageError
from stillhouse.formats.base import Quarantined, Row, check_strings, row_of_chat
from stillhouse.generation import text_of
from stillhouse.grade import Grader
from stillhouse.prompts import prompt_hash
from stillhouse.sample import item_of, sample_of
from stillhouse.stores.base import Payload
from stillhouse.transcript import assemble, prompt_messages

REFERENCE_KEY = "reference"
"""Metadata under which a client may send the right answer along."""
WHOLE = "stop"
"""The finish reason of an answer that ended by itself."""


@dataclass
class Collected:
    """Examples on their way into a dataset, and the account of what did not come along."""

    examples: list[Example] = field(default_factory=list)
    removed: Counter[str] = field(default_factory=Counter)
    """Reason -> rows left out."""
    teacher_of: dict[str, str] = field(default_factory=dict)
    """Source of an example -> model that answered it."""
    upstream_of: dict[str, str] = field(default_factory=dict)
    """Source of an example -> upstream that answered it."""
    may_train: dict[str, str] = field(default_factory=dict)
    """Upstream -> what its terms say; `no: ...` where they said so of any of its answers."""
    quarantined: list[tuple[str, Quarantined]] = field(default_factory=list)
    """File and row."""
    given_splits: bool = False
    """The examples' splits were given, by the files they stood in, and are not to be drawn."""

    def left_out(self, reason: str, count: int = 1) -> None:
        if count:
            self.removed[reason] += count

    def kept(self, examples: Iterable[Example]) -> Collected:
        """The same account with fewer examples."""
        return replace(self, examples=list(examples), removed=Counter(self.removed))


def collect(
    completions: Iterable[Completion],
    payload: Callable[[str], Payload | None],
    *,
    finish_reasons: tuple[str, ...] = (WHOLE,),
    reference_key: str = REFERENCE_KEY,
    not_by: Container[str] = (),
) -> Collected:
    """An example for every whole answer (each choice, where a request asked for several).

    `not_by`: models whose answers are left out. A student behind the gateway is captured too, and must not be its own teacher.
    """
    collected = Collected()
    for completion in completions:
        if completion.model in not_by or completion.upstream in not_by:
            collected.left_out("answered by a student")
            continue
        if completion.state != "complete":
            collected.left_out(f"{completion.state}, not complete")
            continue
        kept = payload(completion.id)
        if kept is None or kept.response is None:
            collected.left_out("its bytes are gone")
            continue
        for example in _examples(completion, kept, finish_reasons, reference_key, collected):
            collected.examples.append(example)
            collected.teacher_of[example.source or ""] = completion.model
            collected.upstream_of[example.source or ""] = completion.upstream
            collected.may_train = strictest(collected.may_train, {completion.upstream: completion.may_train})
    return collected


def collect_rows(rows: Iterable[Row | Quarantined], *, file: str, split: Split = "train") -> Collected:
    """An example for every usable row of one file, its split that of the file."""
    collected = Collected()
    for row in rows:
        if isinstance(row, Quarantined):
            collected.quarantined.append((file, row))
            collected.left_out("quarantined")
        else:
            collected.examples.append(example_of(row, source=f"file:{file}:{row.line}", split=split))
    return collected


def joined(parts: Iterable[Collected]) -> Collected:
    """Several collections as one, in order."""
    whole = Collected()
    for part in parts:
        whole.examples += part.examples
        whole.removed += part.removed
        whole.teacher_of |= part.teacher_of
        whole.upstream_of |= part.upstream_of
        whole.may_train = strictest(whole.may_train, part.may_train)
        whole.quarantined += part.quarantined
        whole.given_splits |= part.given_splits
    return whole


async def keep_right(collected: Collected, grader: Grader) -> Collected:
    """Only the examples whose answer `grader` passes. Raises UsageError when none has a reference to compare with."""
    graded = [(example, await _passes(grader, example)) for example in collected.examples]
    if graded and all(right is None for _, right in graded):
        raise UsageError(
            f"None of the {len(graded)} examples has a reference to grade against. Send it along with the request, as "
            f"metadata '{REFERENCE_KEY}', or import a file whose answers are the references."
        )
    kept = collected.kept(example for example, right in graded if right)
    kept.left_out(f"not right by '{grader.name}'", sum(right is False for _, right in graded))
    kept.left_out("no reference to grade against", sum(right is None for _, right in graded))
    return kept


async def _passes(grader: Grader, example: Example) -> bool | None:
    return None if example.reference is None else (await grader.grade(item_of(example), sample_of(example.answer))).passed


def example_of(row: Row, *, source: str, split: Split = "train") -> Example:
    """The row with its identity: the hash of what is asked and answered, and its group, the hash of the normalised prompt."""
    messages = [_plain(message) for message in row.messages]
    return Example(
        id=example_id(messages, row.answer, row.tools),
        messages=messages,
        answer=row.answer,
        reference=row.reference,
        split=split,
        group=prompt_hash(messages),
        source=source,
        weight=row.weight,
        metadata=row.metadata,
        tools=row.tools,
        rejected=row.rejected,
    )


def _plain(message: Message) -> Message:
    """A content that is a list of texts and nothing else becomes one text, the one that a student reads when it is asked so."""
    if not isinstance(message.get("content"), list):
        return message
    try:
        return {**message, "content": text_of(message)}
    except UsageError:
        return message


def _examples(
    completion: Completion, payload: Payload, finish_reasons: tuple[str, ...], reference_key: str, collected: Collected
) -> Iterator[Example]:
    prompt = prompt_messages(payload.request)
    metadata = dict(completion.metadata)
    fields = {"reference": metadata.pop(reference_key, None), "metadata": metadata, "tools": _tools(payload.request)}
    for position, choice in enumerate(assemble(payload.response or b"", completion.stream).get("choices") or []):
        if choice.get("finish_reason") not in finish_reasons:
            collected.left_out(f"its answer ended by '{choice.get('finish_reason')}'")
            continue
        try:
            message = choice.get("message")
            said = message if isinstance(message, dict) else {}
            row = row_of_chat(position, [*prompt, {**said, "role": "assistant"}], **fields)
            check_strings([row.messages, row.answer, row.tools])
        except ValueError as exc:
            collected.left_out(str(exc))
            continue
        yield example_of(row, source=f"completion:{completion.id}" + (f"#{position}" if position else ""))


def _tools(request: bytes) -> list[dict[str, Any]] | None:
    tools = ChatRequest(request).body.get("tools")
    return tools if isinstance(tools, list) and tools and all(isinstance(tool, dict) for tool in tools) else None
