"""Log-probabilities of captured answers and of labels find their way from the store into a student's training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch

from stillhouse.completion import CompletionQuery
from stillhouse.curation import build, collect, save
from stillhouse.dataset import Dataset
from stillhouse.errors import NotFoundError, RecipeError, UsageError
from stillhouse.formats.examples import read_examples
from stillhouse.jobs.labels import Wish, label_source
from stillhouse.jobs.signals import keep_captured
from stillhouse.settings import Settings
from stillhouse.signals import SignalReader, TopRows
from stillhouse.stores.base import every
from stillhouse.students.causal import CausalStudent
from stillhouse.training.logprobs import api_teacher
from stillhouse.upstream import Upstream
from stillhouse.workspace import Workspace
from tests.stores.samples import completion, ended, request_bytes
from tests.students.tiny import tiny_spec, write_tokenizer


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    return write_tokenizer(tmp_path / "tokenizer")


def add_upstream(workspace: Workspace, tokenizer: Path | None) -> None:
    folder = None if tokenizer is None else str(tokenizer)
    workspace.store.put_upstream(Upstream(name="openai", base_url="http://h/v1", tokenizer=folder)).result()


def logprobs(answer: str) -> dict[str, Any]:
    """As OpenAI says them of an answer whose tokens are letters."""
    content = [
        {
            "token": letter,
            "bytes": list(letter.encode()),
            "logprob": -0.5,
            "top_logprobs": [{"token": other, "bytes": list(other.encode()), "logprob": value} for other, value in likely],
        }
        for letter in answer
        for likely in [[(letter, -0.5), ("!", -2.0)]]
    ]
    return {"content": content, "refusal": None}


def capture(workspace: Workspace, question: str, answer: str, said: dict[str, Any] | None, *, stream: bool = False) -> None:
    begun = completion(stream=stream)
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop", "logprobs": said}
    body = orjson.dumps({"id": "x", "object": "chat.completion", "choices": [choice]})
    if stream:
        half = len(answer) // 2
        content = (said or {"content": []})["content"]
        parts = [(answer[:half], content[:half], None), (answer[half:], content[half:], None), ("", [], "stop")]
        body = (
            b"".join(
                b"data: "
                + orjson.dumps(
                    {
                        "id": "x",
                        "choices": [
                            {"index": 0, "delta": {"content": text}, "finish_reason": end, "logprobs": {"content": tokens}}
                        ],
                    }
                )
                + b"\n\n"
                for text, tokens, end in parts
            )
            + b"data: [DONE]\n\n"
        )
    workspace.store.begin_completion(begun, request_bytes(question)).result()
    workspace.store.finish_completion(ended(begun, finish_reason="stop"), body).result()


def dataset_of(workspace: Workspace) -> Dataset:
    store = workspace.store
    collected = collect(every(store, CompletionQuery()), store.payload)
    return save(build("captured", collected), workspace.dataset_folder, store)


@pytest.mark.parametrize("stream", [False, True])
def test_captured_log_probabilities_teach(workspace: Workspace, tokenizer: Path, stream: bool) -> None:
    add_upstream(workspace, tokenizer)
    for question, answer in [("one plus one?", "two"), ("a long way from home", "walk back")]:
        capture(workspace, question, answer, logprobs(answer), stream=stream)
    dataset = dataset_of(workspace)
    assert keep_captured(workspace, dataset) == 2
    assert keep_captured(workspace, dataset) == 0
    student = CausalStudent.build(tiny_spec(tokenizer), seed=1)
    examples = [each for split in dataset.files for each in read_examples(workspace.dataset_folder(dataset.fingerprint), split)]
    rows = student.encode(examples, max_tokens=100)
    teacher = api_teacher(workspace.settings.signals, dataset.fingerprint, student.tokenizer_hash(), rows)
    batch = student.collate(rows)
    assert teacher.source(batch).vocabulary == student.vocabulary_size


def test_answers_without_them_are_said_to_be_so(workspace: Workspace, tokenizer: Path) -> None:
    add_upstream(workspace, tokenizer)
    capture(workspace, "one plus one?", "two", None)
    with pytest.raises(NotFoundError, match="captured with log-probabilities.*label"):
        keep_captured(workspace, dataset_of(workspace))


def test_an_upstream_that_names_no_tokenizer_is_told_to(workspace: Workspace) -> None:
    add_upstream(workspace, None)
    capture(workspace, "one plus one?", "two", logprobs("two"))
    with pytest.raises(UsageError, match="'openai' names no tokenizer.*--tokenizer FOLDER"):
        keep_captured(workspace, dataset_of(workspace))


def test_tokens_of_another_tokenizer_are_refused(workspace: Workspace, tokenizer: Path) -> None:
    add_upstream(workspace, tokenizer)
    capture(workspace, "one plus one?", "two", logprobs("tw"))
    with pytest.raises(RecipeError, match="2 tokens, and the upstream's tokenizer makes 3.*black-box"):
        keep_captured(workspace, dataset_of(workspace))
    assert not workspace.settings.signals.exists()


async def test_labels_keep_how_sure_a_local_teacher_was(workspace: Workspace, tokenizer: Path, tmp_path: Path) -> None:
    """What it says through the API is what its own weights say, token by token. Answers with a token that their text does not
    show (its weights are random, and say all there are) are left out."""
    made = CausalStudent.build(tiny_spec(tokenizer, initializer_range=0.3, tie_word_embeddings=False), seed=3)
    made.network.get_output_embeddings().weight.data[made.eos_id] += 0.4  # so that some answers end by themselves
    made.save(tmp_path / "teacher")
    teacher = workspace.add_model(tmp_path / "teacher")
    (tmp_path / "questions.txt").write_text("\n".join(f"question {i} {'?' * i}" for i in range(16)))
    wish = Wish(
        source=str(tmp_path / "questions.txt"),
        model=teacher.id,
        out="labelled",
        parameters={"temperature": 1, "seed": 1, "max_completion_tokens": 200},
        logprobs=20,
    )
    labelled = await label_source(workspace, wish)
    assert labelled is not None
    dataset = labelled.dataset
    assert sum(dataset.counts.values()) >= 4
    assert 0 < dataset.removed["its log-probabilities are of other tokens than its text's"] <= 8
    examples = [each for split in dataset.files for each in read_examples(workspace.dataset_folder(dataset.fingerprint), split)]
    rows = made.encode(examples, max_tokens=256)
    said = api_teacher(workspace.settings.signals, dataset.fingerprint, made.tokenizer_hash(), rows)
    reader = said._reader
    assert isinstance(reader, SignalReader)
    batch = made.collate(rows)
    kept = reader.rows(batch.examples)
    assert isinstance(kept, TopRows)
    with torch.no_grad():
        log_p_NV = made.output(batch).scores_NV.log_softmax(-1)
    there_NK = torch.from_numpy(kept.log_probs_NK.astype("float32"))
    own_NK = log_p_NV.gather(1, torch.from_numpy(kept.ids_NK).long())
    told_N = batch.targets_N != made.eos_id
    real_NK = ~there_NK.isinf() & told_N[:, None]
    assert real_NK.sum() >= 20 * told_N.sum()
    assert (there_NK - own_NK)[real_NK].abs().max() < 0.02
