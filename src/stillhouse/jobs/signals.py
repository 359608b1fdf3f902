"""Log-probabilities that a teacher's answers came with, found by name: of completions in the store, or of answers just labelled.

How token strings become ids stands in `training/logprobs.py`, how they are kept in `signals/`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.artifacts import load_manifest
from stillhouse.curation import Collected
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import NotFoundError, RecipeError, UsageError
from stillhouse.formats.examples import read_examples
from stillhouse.signals import caches
from stillhouse.transcript import assemble
from stillhouse.workspace import Workspace

Said = Sequence[Mapping[str, Any]]
"""One answer's `logprobs.content`."""

_COMPLETION = "completion:"


class SaidAbout(Mapping[str, "tuple[Example, Said]"]):
    """What was said about examples, by id; read whenever it is asked for, so that it need not fit into memory."""

    def __init__(self, examples: Collection[str], read: Callable[[str], tuple[Example, Said]]) -> None:
        self._examples = examples
        self._read = read

    def __getitem__(self, identity: str) -> tuple[Example, Said]:
        return self._read(identity)

    def __iter__(self) -> Iterator[str]:
        return iter(self._examples)

    def __len__(self) -> int:
        return len(self._examples)


def keep_captured(workspace: Workspace, dataset: Dataset) -> int:
    """Keep what the gateway captured of how sure the teacher was of a dataset's answers; returns how many were new.

    Raises NotFoundError where none of its answers came with log-probabilities, UsageError where an upstream names no tokenizer,
    RecipeError where they are of other tokens than that tokenizer's.
    """
    found: dict[str, dict[str, tuple[Example, Said]]] = {}
    for example, upstream, said in captured(workspace, dataset):
        found.setdefault(upstream, {})[example.id] = example, said
    if not found:
        raise NotFoundError(
            f"None of the answers of dataset {dataset.name} was captured with log-probabilities. Clients get them with "
            "logprobs=True, top_logprobs=20; or ask again: stillhouse label ... --logprobs 20"
        )
    tokenizers = {upstream: tokenizer_of(workspace, upstream) for upstream in found}
    return sum(keep_answers(workspace, dataset, tokenizers[upstream], said) for upstream, said in found.items())


def labelled_before(workspace: Workspace, dataset: Dataset) -> bool:
    """Whether something is kept of what an API said about this dataset's answers: by `label --logprobs`, or by `signals keep`."""
    said = f"api:{dataset.fingerprint}"
    return any(cached.key is not None and cached.key.teacher == said for cached in caches(workspace.settings.signals))


def keep_answers(workspace: Workspace, dataset: Dataset, tokenizer: Path, said: Mapping[str, tuple[Example, Said]]) -> int:
    """Keep what was said about examples of `dataset`, by id; of others, and of those without, nothing. Raises RecipeError."""
    from stillhouse.training.logprobs import keep_said  # brings torch

    there = {example.id for example in _examples(workspace, dataset)}
    kept = SaidAbout([identity for identity, (_, words) in said.items() if identity in there and words], said.__getitem__)
    return keep_said(workspace.settings.signals, dataset.fingerprint, tokenizer, kept.values()) if kept else 0


def without_misfits(
    collected: Collected, labelled: Sequence[Example], tokenizer: Path, said: Mapping[str, tuple[Example, Said]]
) -> list[Example]:
    """The labelled examples whose log-probabilities are of their own tokens; the others are left out, and counted.

    Raises RecipeError where they are more than half: then the tokenizer is not the one that the teacher uses.
    """
    from stillhouse.training.logprobs import misfits, refusal  # brings torch

    refused = misfits(tokenizer, said.values())
    if len(refused) * 2 > len(said):
        raise RecipeError(refusal(refused, len(said), tokenizer))
    kept = [example for example in labelled if example.id not in refused]
    collected.left_out("its log-probabilities are of other tokens than its text's", len(labelled) - len(kept))
    return kept


def captured(workspace: Workspace, dataset: Dataset) -> Iterator[tuple[Example, str, Said]]:
    """(example, who answered it, what was said), for every example whose completion has log-probabilities."""
    store = workspace.store
    for example in _examples(workspace, dataset):
        source, _, choice = (example.source or "").partition("#")
        if not source.startswith(_COMPLETION):
            continue
        identity = source.removeprefix(_COMPLETION)
        completion, payload = store.completion(identity), store.payload(identity)
        if completion is None or payload is None or payload.response is None:
            continue
        said = said_in(assemble(payload.response, completion.stream), int(choice or 0))
        if said:
            yield example, completion.upstream, said


def said_in(body: Mapping[str, Any], choice: int = 0) -> Said:
    """`logprobs.content` of a chat.completion body's choice; empty where there is none."""
    choices = body.get("choices")
    found = choices[choice] if isinstance(choices, list) and choice < len(choices) else None
    logprobs = found.get("logprobs") if isinstance(found, dict) else None
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    return [entry for entry in content if isinstance(entry, dict)] if isinstance(content, list) else []


def tokenizer_of(workspace: Workspace, upstream: str) -> Path:
    """The folder of the tokenizer behind an upstream, or of a local model's own. Raises UsageError where it names none."""
    for known in workspace.store.upstreams():
        if known.name == upstream:
            if known.tokenizer is None:
                raise UsageError(
                    f"The upstream '{upstream}' names no tokenizer, and without one nobody knows which ids the API's tokens "
                    f"are. Take it away and add it again: stillhouse upstream remove {upstream}; stillhouse upstream add "
                    f"{upstream} ... --tokenizer FOLDER"
                )
            return Path(known.tokenizer)
    folder = workspace.model_folder(upstream)
    if load_manifest(folder).kind == "linear":
        raise UsageError(f"'{upstream}' gives labels, not tokens: its log-probabilities are not of a tokenizer's ids.")
    return folder


def _examples(workspace: Workspace, dataset: Dataset) -> list[Example]:
    folder = workspace.dataset_folder(dataset.fingerprint)
    return [example for split in SPLITS for example in read_examples(folder, split)]
