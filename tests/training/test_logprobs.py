"""What an API said about tokens becomes rows about ids, or is refused: never about other tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.losses.sources import Sparse
from stillhouse.losses.top_k import TopK
from stillhouse.students.causal import CausalStudent
from stillhouse.students.token_bytes import TokenBytes
from stillhouse.training.logprobs import PLACES, Aligner, api_teacher, keep_said
from tests.students.tiny import tiny_spec, write_tokenizer

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("letters"))


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bytes as tokens, three merges, and a special token that looks like text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*alphabet, "th", "the", "Ġt", "<end>"])}
    tokenizer = Tokenizer(BPE(vocabulary, [("t", "h"), ("th", "e"), ("Ġ", "t")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = tmp_path_factory.mktemp("bytes")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
    return folder


def entry(token: str, logprob: float, others: dict[str, float] | None = None, **more: Any) -> dict[str, Any]:
    top = [{"token": name, "logprob": value, "bytes": list(name.encode())} for name, value in (others or {}).items()]
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": top, **more}


def example(answer: str, identity: str = "e") -> Example:
    return Example(id=identity, messages=[{"role": "user", "content": "q"}], answer=answer)


def kept(aligner: Aligner, answer: str, said: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Each row's tokens, as the vocabulary writes them, and probabilities."""
    rows = aligner.rows(answer, said)
    names = [aligner._tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in rows.ids_NK]
    return [
        {name: math.exp(value) for name, value in zip(row, values, strict=True) if value > -math.inf}
        for row, values in zip(names, rows.log_probs_NK.astype(float), strict=True)
    ]


def test_strings_become_ids_and_what_is_missing_is_the_tail(letters: Path) -> None:
    aligner = Aligner(letters)
    said = [entry("h", math.log(0.5), {"h": math.log(0.5), "j": math.log(0.25)}), entry("i", math.log(0.75))]
    assert kept(aligner, "hi", said) == [
        pytest.approx({"h": 0.5, "j": 0.25}, rel=1e-3),
        pytest.approx({"i": 0.75}, rel=1e-3),
        {"<eos>": 1.0},
    ]
    assert np.exp(aligner.rows("hi", said).log_tail_N.astype(float)).tolist() == pytest.approx([0.25, 0.25, 0], abs=1e-3)


def test_the_token_that_was_said_is_kept_where_it_is_not_among_the_likeliest(letters: Path) -> None:
    others = {letter: math.log(0.04) for letter in "abcdefghijklmnopqrst"}
    [row, _] = kept(Aligner(letters), "z", [entry("z", math.log(0.01), others)])
    assert len(row) == PLACES
    assert row["z"] == pytest.approx(0.01, rel=1e-3)


def test_a_server_may_say_the_end_token_too(letters: Path) -> None:
    said = [entry("a", -0.1), entry("<eos>", math.log(0.6), {"!": math.log(0.3)})]
    assert kept(Aligner(letters), "a", said)[1] == pytest.approx({"<eos>": 0.6, "!": 0.3}, rel=1e-3)


def test_parts_of_characters_are_told_by_their_bytes(byte_level: Path) -> None:
    aligner, answer = Aligner(byte_level), "the é t"
    of = TokenBytes(aligner._tokenizer).of
    looks = [of(token, aligner._tokenizer.decode([token])) for token in aligner.ids(answer)[:-1]]
    said = [{"token": "not looked at", "logprob": -0.5, "bytes": look, "top_logprobs": []} for look in looks]
    assert [set(row) for row in kept(aligner, answer, said)][:4] == [{"the"}, {"Ġ"}, {"Ã"}, {"©"}]


def test_some_servers_say_ids(byte_level: Path) -> None:
    aligner = Aligner(byte_level)
    said = [{"token": f"token_id:{aligner.ids('the')[0]}", "logprob": -0.5, "bytes": None, "top_logprobs": []}]
    assert list(kept(aligner, "the", said)[0]) == ["the"]


def test_another_token_that_looks_like_two_joins_the_tail(letters: Path, tmp_path: Path) -> None:
    """No guess is made: its mass is kept as that of somebody else."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(letters)
    tokenizer.add_tokens(["\u2581x"], special_tokens=False)
    tokenizer.add_tokens([" x"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path)
    aligner = Aligner(tmp_path)
    said = [entry("a", math.log(0.5), {" x": math.log(0.3), "b": math.log(0.1), "unknown": math.log(0.05)})]
    assert kept(aligner, "a", said)[0] == pytest.approx({"a": 0.5, "b": 0.1}, rel=1e-3)
    assert math.exp(aligner.rows("a", said).log_tail_N[0]) == pytest.approx(0.4, rel=1e-3)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "came without them"),
        ([entry("hi", -0.1)], "is 1 tokens, and the upstream's tokenizer makes 2"),
        ([entry("h", -0.1), entry("o", -0.1)], "token 2 is 'o' to the API and 'i'"),
        ([entry("h", -0.1), {"token": None, "logprob": -0.1}], "token 2 is None"),
        ([entry("h", math.nan), entry("i", -0.1)], "nan is no log-probability"),
        ([entry("h", 0.7), entry("i", -0.1)], "0.7 is no log-probability"),
        ([entry("h", -0.1, {"a": -0.2}), entry("i", -0.1)], "sum to more than 1"),
    ],
)
def test_what_are_not_the_tokens_of_the_tokenizer_is_refused(
    tmp_path: Path, letters: Path, said: list[dict[str, Any]], reason: str
) -> None:
    good = (example("a", "good"), [entry("a", -0.1)])
    with pytest.raises(RecipeError, match=f"of 1 of 2 answers.*bad: .*{reason}.*black-box"):
        keep_said(tmp_path, "sha256:d", letters, [good, (example("hi", "bad"), said)])
    assert not list(tmp_path.iterdir())


def test_what_is_kept_teaches_a_student_with_the_same_tokenizer_and_no_other(
    tmp_path: Path, letters: Path, byte_level: Path
) -> None:
    said = [entry("h", math.log(0.5), {"j": math.log(0.25)}), entry("i", math.log(0.75))]
    pairs = [(example("hi"), said), (example("i", "f"), said[1:])]
    assert keep_said(tmp_path, "sha256:d", letters, pairs) == 2
    assert keep_said(tmp_path, "sha256:d", letters, pairs) == 0
    student = CausalStudent.build(tiny_spec(letters), seed=1)
    rows = student.encode([example for example, _ in pairs], max_tokens=50)
    teacher = api_teacher(tmp_path, "sha256:d", student.tokenizer_hash(), rows)
    batch = student.collate(rows[::-1])
    source = teacher.source(batch)
    assert isinstance(source, Sparse)
    one_N1 = torch.ones(len(batch.targets_N), 1)
    target = source.target(slice(None), batch.targets_N, one_N1, source.vocabulary)
    loss_N = TopK(PLACES)(student.output(batch).scores_NV, target)
    assert target.ids_NK is not None
    assert target.ids_NK[:, 0].tolist() == batch.targets_N.tolist()
    assert (loss_N > 0).all()
    log_q_NV = student.output(batch).scores_NV.log_softmax(-1)
    end_N = batch.targets_N == student.eos_id
    assert torch.allclose(loss_N[end_N], -log_q_NV[end_N, student.eos_id], atol=1e-5)  # nothing was said about it
    with pytest.raises(RecipeError, match="for the student's tokenizer.*signals keep"):
        api_teacher(tmp_path, "sha256:d", Aligner(byte_level).hash, rows)
    changed = student.encode([example("hj"), example("new", "g")], max_tokens=50)
    with pytest.raises(RecipeError, match="2 of 4 examples have no log-probabilities"):
        api_teacher(tmp_path, "sha256:d", student.tokenizer_hash(), [*rows, *changed])
