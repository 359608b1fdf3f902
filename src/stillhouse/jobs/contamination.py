"""Does a model know the questions already? What an eval asks beside what the model was trained on, found by its lineage.

A leak is shown as a pair, not as a number (`curation.leaks`): near-duplicates are sometimes two honest questions. What a teacher
behind an API was trained on, nobody here can know; that is said, not taken for clean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stillhouse.chat import Message
from stillhouse.curation import Leak, find_leaks
from stillhouse.curation.leaks import NEAR_LEAKS, SHOWN
from stillhouse.dataset import Example, example_id
from stillhouse.errors import NotFoundError
from stillhouse.formats.examples import read_examples
from stillhouse.prompts import prompt_hash
from stillhouse.records import Record
from stillhouse.workspace import Workspace


class Contamination(Record):
    model: str
    dataset: str | None = None
    """Fingerprint of the version that the model was trained on; None where that is not known here."""
    checked: bool
    questions: int
    training_rows: int = 0
    found: int = 0
    """Questions that stand in the training data too, the same or nearly."""
    equal: int = 0
    pairs: tuple[Leak, ...] = ()
    """The most alike."""
    words: str


def contamination_of(workspace: Workspace, model: str, questions: Iterable[Sequence[Message]]) -> Contamination:
    """How many of `questions` (chats) the model was trained on: equal once normalised, or as alike as a leak."""
    asked = [_example(number, messages, "test") for number, messages in enumerate(questions)]
    dataset = _dataset_of(workspace, model)
    if dataset is None:
        words = f"Not checked: what '{model}' was trained on is not known here."
        return Contamination(model=model, checked=False, questions=len(asked), words=words)
    try:
        folder = workspace.dataset_folder(dataset)
        trained = [*read_examples(folder, "train"), *read_examples(folder, "valid")]
    except NotFoundError:
        words = f"Not checked: the data that '{model}' was trained on is not here any more."
        return Contamination(model=model, dataset=dataset, checked=False, questions=len(asked), words=words)
    learned = [example.model_copy(update={"split": "train", "group": prompt_hash(example.messages)}) for example in trained]
    leaks = find_leaks([*learned, *asked], NEAR_LEAKS)
    found = {leak.other for leak in leaks}
    return Contamination(
        model=model,
        dataset=dataset,
        checked=True,
        questions=len(asked),
        training_rows=len(trained),
        found=len(found),
        equal=len({leak.other for leak in leaks if leak.similarity == 1.0}),
        pairs=tuple(leaks[:SHOWN]),
        words=_words(len(found), len(asked), model),
    )


def messages_of(item: dict[str, Any]) -> list[Message]:
    """What an item asks where no model was asked: its chat, or all its texts."""
    for name in ("input", "messages"):
        if isinstance(item.get(name), list):
            return [message for message in item[name] if isinstance(message, dict)]
    texts = [value for value in item.values() if isinstance(value, str)]
    for name in ("input", "question", "prompt", "text"):
        if isinstance(item.get(name), str):
            texts = [item[name]]
            break
    return [{"role": "user", "content": "\n".join(texts)}]


def _dataset_of(workspace: Workspace, model: str) -> str | None:
    alias = next((route.model for route in workspace.store.routes() if route.alias == model), model)
    artifact = workspace.store.artifact(alias)
    return None if artifact is None else artifact.dataset


def _example(number: int, messages: Sequence[Message], split: str) -> Example:
    chat = list(messages)
    return Example.model_validate(
        {
            "id": example_id(chat, ""),
            "messages": chat,
            "answer": "",
            "split": split,
            "group": prompt_hash(chat),
            "source": f"row:{number}",
        }
    )


def _words(found: int, asked: int, model: str) -> str:
    if not found:
        return f"None of the {asked:,} questions stands in the data that '{model}' was trained on."
    return f"{found:,} of {asked:,} questions stand in the data that '{model}' was trained on: there it may remember."
