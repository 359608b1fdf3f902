"""A cache says what its teacher would say: the same loss and gradients, the same run, whatever was stopped in between.

Shapes: N supervised rows, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stillhouse.errors import RecipeError, StoreError, TrainingError
from stillhouse.losses.forward_kl import ForwardKL
from stillhouse.losses.sampled import Sampled
from stillhouse.losses.sources import Sparse
from stillhouse.losses.top_k import TopK
from stillhouse.method import Cache, WhiteBox
from stillhouse.signals import SampledRows, SignalReader, TopRows
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded, Output, Wanted
from stillhouse.training.caching import ensure_cache, entry_of, key_of, teacher_hash
from stillhouse.training.inner_states import names_of
from stillhouse.training.objective import Distillation, Window
from stillhouse.training.teachers.base import Teaching
from stillhouse.training.teachers.cached import CachedTeacher
from stillhouse.training.teachers.live import LiveTeacher
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import sums

torch.set_num_threads(1)

TIERS: dict[str, WhiteBox] = {
    "hidden": WhiteBox(source="cache", temperature=2.0),
    "logits": WhiteBox(source="cache", cache=Cache(tier="logits"), temperature=2.0),
    "top_k": WhiteBox(source="cache", cache=Cache(tier="top_k", k=7), loss="top_k", temperature=2.0),
    "sampled": WhiteBox(source="cache", cache=Cache(tier="sampled"), loss="sampled"),
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> CausalStudent:
    """Surer of what it says than random weights are."""
    spec = tiny_spec(write_tokenizer(tmp_path_factory.mktemp("tokenizer")), hidden_size=48, tie_word_embeddings=False)
    made = CausalStudent.build(spec, seed=2)
    with torch.no_grad():
        made.network.get_output_embeddings().weight.mul_(40)
    made.network.eval()
    return made


@pytest.fixture
def student(tmp_path: Path) -> CausalStudent:
    return CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer")), seed=1)


@pytest.fixture(scope="module")
def rows(teacher: CausalStudent) -> list[Encoded]:
    return teacher.encode(sums(), max_tokens=200)


def cached(
    root: Path, teacher: CausalStudent, rows: Sequence[Encoded], method: WhiteBox, states: Sequence[str] = ()
) -> CachedTeacher:
    key = key_of(method, tokenizer=teacher.tokenizer_hash(), teacher="sha256:of-the-test", states=states)
    reader = ensure_cache(root, key, rows, lambda: teacher)
    assert reader is not None
    return CachedTeacher(reader, map(entry_of, rows))


def loss_and_gradients(
    student: CausalStudent, teaching: Teaching, rows: Sequence[Encoded], method: WhiteBox
) -> dict[str, Tensor]:
    student.network.zero_grad(set_to_none=True)
    loss = {"top_k": TopK(7), "sampled": Sampled()}.get(method.loss, ForwardKL())
    batch = student.collate(rows)
    found = Distillation(method, teaching, loss).losses(student, batch, Window.of([batch]))
    torch.autograd.backward(found["loss"])
    gradients = {name: weight.grad for name, weight in student.network.named_parameters() if weight.grad is not None}
    return {"loss": found["loss"].detach(), **gradients}


@pytest.mark.parametrize("tier", ["hidden", "logits", "top_k"])
def test_a_cache_teaches_what_its_live_teacher_does(
    tmp_path: Path, teacher: CausalStudent, student: CausalStudent, rows: list[Encoded], tier: str
) -> None:
    """Within what rounding to float16 does to states, scores and log-probabilities."""
    method = TIERS[tier]
    some = [rows[i] for i in (3, 70, 12, 41)]
    live = loss_and_gradients(student, LiveTeacher(teacher), some, method)
    stored = loss_and_gradients(student, cached(tmp_path, teacher, rows, method), some, method)
    assert set(live) == set(stored)
    assert stored["loss"].item() == pytest.approx(live["loss"].item(), rel=2e-3)
    for name, gradient in live.items():
        assert (gradient - stored[name]).norm() <= 3e-3 * gradient.norm() + 1e-6, name


def test_the_head_keeps_bias_scale_and_cap(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    class Capped(CausalStudent):
        def output(self, batch: Any, *, wanted: Wanted | None = None) -> Output:
            given = super().output(batch, wanted=wanted)
            bias_V = torch.arange(given.head.size) / 10
            head = type(given.head)(given.head.weight_VH, bias_V, scale=0.5, soft_cap=3.0)
            return Output(given.hidden_NH, head)

    capped = Capped(teacher.network, teacher.tokenizer)
    teaching = cached(tmp_path, capped, rows[:5], TIERS["hidden"])
    batch = teacher.collate(rows[:5])
    one_N1 = torch.ones(len(batch.targets_N), 1)
    said, live = (
        source.target(slice(None), batch.targets_N, one_N1, source.vocabulary).log_probs_NV
        for source in (teaching.source(batch), LiveTeacher(capped).source(batch))
    )
    assert said is not None and live is not None
    assert (said - live).abs().max() < 5e-3
    assert live.exp().max() < 0.5  # the cap shows


def test_kept_tokens_and_tail_sum_to_one_however_small_the_tail(
    tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]
) -> None:
    """From rounded log-probabilities alone the tail would be rounding, and negative in half of the rows."""
    method = WhiteBox(source="cache", cache=Cache(tier="top_k", k=40), loss="top_k")
    batch = teacher.collate(rows[:30])
    source = cached(tmp_path, teacher, rows, method).source(batch)
    assert isinstance(source, Sparse)
    with torch.no_grad():
        p_NV = teacher.output(batch).scores_NV.softmax(-1).double()
    tail_N = 1 - source.log_probs_NK.double().exp().sum(-1)
    true_N = p_NV.sort(-1, descending=True).values[:, 40:].sum(-1)
    assert true_N.median() < 1e-4, "a test of small tails"
    assert (tail_N - true_N).abs().max() < 2e-3 * true_N.max() + 1e-6
    assert source.log_probs_NK.gather(1, source.log_probs_NK.argmax(1, keepdim=True)).exp().max() <= 1


def test_draws_come_from_the_teachers_distribution(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    """The shares of 20,000 draws a row are within five standard deviations of the probabilities."""
    method, some = WhiteBox(source="cache", cache=Cache(tier="sampled", samples=20_000), loss="sampled"), rows[:3]
    teaching = cached(tmp_path, teacher, some, method)
    batch = teacher.collate(some)
    target = teaching.source(batch).target(slice(None), batch.targets_N, torch.ones(len(batch.targets_N), 1), 10**6)
    assert target.ids_NK is not None and target.counts_NK is not None
    with torch.no_grad():
        p_NV = teacher.output(batch).scores_NV.softmax(-1)
    share_NV = torch.zeros_like(p_NV).scatter_add_(1, target.ids_NK, target.counts_NK.float()) / 20_000
    assert torch.allclose(share_NV.sum(-1), torch.ones(len(p_NV)))
    deviation_NV = (p_NV * (1 - p_NV) / 20_000).sqrt()
    assert ((share_NV - p_NV).abs() <= 5 * deviation_NV + 2 / 20_000).all()


def test_draws_do_not_depend_on_what_else_was_asked(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    method = TIERS["sampled"]
    alone, among = cached(tmp_path / "a", teacher, rows[7:8], method), cached(tmp_path / "b", teacher, rows, method)
    first, second = (teaching._reader.rows([rows[7].example]) for teaching in (alone, among))
    assert isinstance(first, SampledRows) and isinstance(second, SampledRows)
    assert (first.ids_U == second.ids_U).all()
    assert (first.counts_U == second.counts_U).all()


def test_fewer_tokens_than_k_are_all_of_them(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    method = WhiteBox(source="cache", cache=Cache(tier="top_k", k=10_000), loss="top_k")
    kept = cached(tmp_path, teacher, rows[:2], method)._reader.rows([rows[0].example])
    assert isinstance(kept, TopRows)
    assert kept.ids_NK.shape[1] == teacher.vocabulary_size
    assert (kept.log_tail_N == -math.inf).all()


def test_the_teacher_is_not_loaded_where_nothing_is_missing(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    key = key_of(TIERS["hidden"], tokenizer="t", teacher="w")
    asked = []
    for some, loads in [(rows[:5], 1), (rows[:5], 1), (rows[2:4], 1), (rows[:9], 2)]:
        assert ensure_cache(tmp_path, key, some, lambda: asked.append(1) or teacher) is not None  # type: ignore[func-returns-value]
        assert len(asked) == loads


@pytest.mark.parametrize("tier", TIERS)
def test_a_build_that_is_stopped_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: CausalStudent, rows: list[Encoded], tier: str
) -> None:
    monkeypatch.setattr("stillhouse.training.caching.TOKENS", 300)
    key = key_of(TIERS[tier], tokenizer="t", teacher="w")
    assert ensure_cache(tmp_path / "whole", key, rows, lambda: teacher) is not None
    steps = iter([False, False, False, True])
    said: list[str] = []
    assert ensure_cache(tmp_path / "parts", key, rows, lambda: teacher, say=said.append, should_stop=lambda: next(steps)) is None
    assert "stopped" in said[-1]
    there = SignalReader(tmp_path / "parts" / key.name).entries
    assert 0 < len(there) < len(rows)
    assert ensure_cache(tmp_path / "parts", key, rows, lambda: teacher) is not None
    assert contents(tmp_path / "parts" / key.name) == contents(tmp_path / "whole" / key.name)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_tampered_shard_is_found_and_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: CausalStudent, rows: list[Encoded]
) -> None:
    monkeypatch.setattr("stillhouse.training.caching.TOKENS", 300)
    key = key_of(TIERS["hidden"], tokenizer="t", teacher="w")
    whole = ensure_cache(tmp_path, key, rows, lambda: teacher)
    assert whole is not None
    before = {row.example: np.array(whole.rows([row.example]).states_NH) for row in rows}  # type: ignore[union-attr]
    shard = tmp_path / key.name / "shard-0000.blocks"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    said: list[str] = []
    mended = ensure_cache(tmp_path, key, rows, lambda: teacher, say=said.append)
    assert mended is not None
    assert "was altered" in said[0]
    asked = int(said[1].split(": ")[1].split()[0])
    assert 0 < asked < len(rows) / 4
    assert all(np.array_equal(before[row.example], mended.rows([row.example]).states_NH) for row in rows)  # type: ignore[union-attr]


def test_an_example_that_is_other_tokens_now_is_refused(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    reader = cached(tmp_path, teacher, rows[:3], TIERS["hidden"])._reader
    for changed in ({"tokens": (*rows[0].tokens[:-2], 9, 1)}, {"answer_start": rows[0].answer_start - 1}):
        other = Encoded(**{**vars(rows[0]), **changed})
        with pytest.raises(StoreError, match="is not what the teacher read"):
            CachedTeacher(reader, [entry_of(other)])


def test_a_text_that_was_never_asked_about_is_refused(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    teaching = cached(tmp_path, teacher, rows[:3], TIERS["hidden"])
    with pytest.raises(TrainingError, match=f'holds nothing about {rows[3].example}.*source = "live"'):
        teaching.source(teacher.collate(rows[3:5]))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WhiteBox(source="cache", cache=Cache(tier="top_k"), temperature_end=2.0), "one temperature.*hidden"),
        (WhiteBox(source="cache", cache=Cache(tier="top_k"), temperature=2.0, temperature_by="token"), "one temperature"),
        (WhiteBox(source="cache", cache=Cache(tier="sampled"), temperature=2.0), "temperature 1.*hidden"),
    ],
)
def test_a_tier_with_one_temperature_refuses_another(method: WhiteBox, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        key_of(method, tokenizer="t", teacher="w")


def test_states_that_float16_cannot_hold_are_refused(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    class Loud(CausalStudent):
        def output(self, batch: Any, *, wanted: Wanted | None = None) -> Output:
            given = super().output(batch, wanted=wanted)
            return Output(given.hidden_NH * 1e6, given.head)

    with pytest.raises(TrainingError, match="float16 ends at 65,504.*top_k"):
        cached(tmp_path, Loud(teacher.network, teacher.tokenizer), rows[:2], TIERS["hidden"])


def test_other_weights_are_another_teacher(tmp_path: Path, teacher: CausalStudent) -> None:
    teacher.save(tmp_path / "one")
    before = teacher_hash(tmp_path / "one")
    (tmp_path / "one" / "README.md").write_text("words")
    assert teacher_hash(tmp_path / "one") == before
    other = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer")), seed=3)
    other.save(tmp_path / "other")
    assert teacher_hash(tmp_path / "other") != before


def test_inner_states_are_kept_beside(tmp_path: Path, teacher: CausalStudent, rows: list[Encoded]) -> None:
    wanted = Wanted(hidden=True, attention=True, relations=frozenset({"queries", "values"}), pooled=True)
    names = names_of(wanted, {0, 2})
    assert names == ("hidden.0", "hidden.2", "scores.2", "queries.2", "values.2", "pooled")
    teaching = cached(tmp_path, teacher, rows, TIERS["hidden"], names)
    batch = teacher.collate([rows[i] for i in (3, 70, 12)])
    live, kept = LiveTeacher(teacher).states(batch, wanted), teaching.states(batch, wanted)
    assert torch.equal(live.mask_BT, kept.mask_BT)
    pairs = [(live.hidden[0], kept.hidden[0]), (live.hidden[2], kept.hidden[2])]
    pairs += [(getattr(live, part)[1], getattr(kept, part)[1]) for part in ("queries", "values")]
    real_BT = live.mask_BT
    for theirs, ours in pairs:
        assert theirs.shape == ours.shape
        real = real_BT[..., None] if theirs.dim() == 3 else real_BT[:, None, :, None]
        assert ((theirs - ours) * real).abs().max() < 2e-3 * theirs.abs().max()
    assert live.pooled_BH is not None and kept.pooled_BH is not None
    assert (live.pooled_BH - kept.pooled_BH).abs().max() < 2e-3 * live.pooled_BH.abs().max()
    square_BTT = real_BT[:, :, None] & real_BT[:, None, :]
    theirs, ours = (states.scores[1].masked_fill(~square_BTT[:, None], 0) for states in (live, kept))
    assert torch.equal(theirs.isinf(), ours.isinf())
    assert (theirs.nan_to_num(0, 0, 0) - ours.nan_to_num(0, 0, 0)).abs().max() < 5e-3
    assert kept.hidden[1].numel() == 0
