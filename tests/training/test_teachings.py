"""Where the signal comes from: several teachers, the student's own average, a peer that learns too. Each resumes exactly."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError
from stillhouse.losses.forward_kl import ForwardKL
from stillhouse.losses.sources import Dense, Projected
from stillhouse.method import Cache, Feature, Preference, Rollouts, WhiteBox
from stillhouse.recipe import Member, Stage, Teacher
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training import train
from stillhouse.training.objective import Distillation
from stillhouse.training.reading import entropy, surprise
from stillhouse.training.teachers.average import AverageTeacher
from stillhouse.training.teachers.live import LiveTeacher
from stillhouse.training.teachers.mutual import MutualTeacher
from stillhouse.training.temperature import Temperature
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import Log, recipe, run, sums, weights_hash, write_sums

STEPS: dict[str, Any] = {"steps": 6, "checkpoint_every": 3, "accumulate": 2, "dropout": 0.0}


def teacher_folder(root: Path, seed: int = 7) -> Path:
    folder = root / f"teacher-{seed}"
    CausalStudent.build(tiny_spec(write_tokenizer(root / "teacher-tokenizer"), hidden_size=48), seed=seed).save(folder)
    return folder


def tasked() -> list[Example]:
    return [row.model_copy(update={"metadata": {"task": "even" if i % 2 else "odd"}}) for i, row in enumerate(sums())]


def teachers(root: Path, *tasks: tuple[str, ...], combine: str = "weight") -> Teacher:
    members = tuple(Member(model=f"teacher-{i}", tasks=names) for i, names in enumerate(tasks))
    return Teacher(members=members, combine=combine)


def check_resume(root: Path, method: WhiteBox, *, teacher: Teacher | None = None, **folders: Any) -> Log:
    """Stopped in the middle and taken up again, a run ends with the same curve and the same weights."""
    write_sums(root / "data", tasked())
    plan = recipe(root, method=method, teacher=teacher, **STEPS)
    whole = run(plan, root / "data", root / "whole", **folders)
    first = run(plan, root / "data", root / "parts", stop_at=4, **folders)
    second = run(plan, root / "data", root / "parts", **folders)
    assert {**first.curve, **second.curve} == whole.curve
    assert weights_hash(root / "parts") == weights_hash(root / "whole")
    return whole


@pytest.mark.parametrize("combine", ["weight", "task", "confidence"])
def test_several_teachers_resume_exactly(tmp_path: Path, combine: str) -> None:
    folders = (teacher_folder(tmp_path, 7), teacher_folder(tmp_path, 8))
    spec = teachers(tmp_path, ("even",), ("odd",), combine=combine)
    log = check_resume(tmp_path, WhiteBox(), teacher=spec, member_folders=folders)
    assert log.curve[6]["train/kd_loss"] > 0


def test_the_average_teacher_resumes_exactly_and_follows_the_student(tmp_path: Path) -> None:
    log = check_resume(tmp_path, WhiteBox(source="ema", weight=0.5))
    assert log.curve[1]["train/kd_loss"] == pytest.approx(0, abs=1e-6)
    assert 0 < log.curve[6]["train/kd_loss"] < 0.1


def test_in_its_first_step_the_average_is_the_student_whatever_was_learnt_before(tmp_path: Path) -> None:
    student = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path)), seed=1)
    teacher = AverageTeacher(student, decay=0.5)
    torch.nn.init.ones_(student.network.get_input_embeddings().weight)
    batch = student.collate([Encoded("a", (4, 5, 6, 7), 2, 1.0)])

    def apart() -> float:
        source = teacher.source(batch)
        assert isinstance(source, Projected)
        return float((source.hidden_NH - student.output(batch).hidden_NH.detach()).abs().max())

    assert apart() == 0
    teacher.after_step([batch], 0.0)
    torch.nn.init.zeros_(student.network.get_input_embeddings().weight)
    assert apart() > 0


@pytest.mark.parametrize("weight", [0.0, float("nan")])
def test_a_peer_is_left_as_it_was_by_a_step_in_which_nothing_counts_or_is_a_number(tmp_path: Path, weight: float) -> None:
    spec = tiny_spec(write_tokenizer(tmp_path))
    student, peer = (CausalStudent.build(spec, seed=seed) for seed in (1, 2))
    lessons = Distillation(WhiteBox(), LiveTeacher(student, frozen=False), ForwardKL())
    teacher = MutualTeacher(peer, lessons, learning_rate=0.1)
    before = [parameter.detach().clone() for parameter in peer.network.parameters()]
    batch = student.collate([Encoded("bad", (4, 5, 6, 7), 2, weight)])
    if weight == 0:
        assert teacher.after_step([batch], 0.0) == {"train/peer_loss": 0.0}
    else:
        with pytest.raises(TrainingError, match=r"peer's gradient is not a finite number.*bad"):
            teacher.after_step([batch], 0.0)
    assert all(torch.equal(old, new) for old, new in zip(before, peer.network.parameters(), strict=True))


def test_the_peer_learns_too_and_resumes_exactly(tmp_path: Path) -> None:
    log = check_resume(tmp_path, WhiteBox(source="mutual", weight=0.5))
    assert log.curve[6]["train/peer_loss"] < log.curve[1]["train/peer_loss"]


def test_a_named_teacher_can_be_the_peer(tmp_path: Path) -> None:
    log = check_resume(tmp_path, WhiteBox(source="mutual"), teacher=Teacher(model="t"), teacher_folder=teacher_folder(tmp_path))
    assert log.curve[6]["train/peer_loss"] < log.curve[1]["train/peer_loss"]


def test_stages_follow_each_other_and_resume_exactly(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    stages = (Stage(share=0.5, method={"weight": 1.0, "temperature": 4.0}), Stage(share=0.5, method={"loss": "reverse_kl"}))
    plan = recipe(tmp_path, method=WhiteBox(), **STEPS).model_copy(update={"stages": stages})
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path)}
    whole = run(plan, tmp_path / "data", tmp_path / "whole", **folders)
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=4, **folders)
    second = run(plan, tmp_path / "data", tmp_path / "parts", **folders)
    assert [whole.curve[step]["train/stage"] for step in range(1, 7)] == [0, 0, 0, 1, 1, 1]
    assert {**first.curve, **second.curve} == whole.curve


def test_shares_that_do_not_make_a_run_are_refused(tmp_path: Path) -> None:
    plan = recipe(tmp_path, method=WhiteBox())
    with pytest.raises(ValueError, match=r"must make 1, and they make 0.5"):
        type(plan).model_validate({**plan.model_dump(), "stages": [{"share": 0.5}]})
    with pytest.raises(ValueError, match="colour"):
        type(plan).model_validate({**plan.model_dump(), "stages": [{"share": 1.0, "method": {"colour": 1}}]})


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (WhiteBox(source="api"), r"forward_kl' needs logits, and an API gives text, top_logprobs.*top_k"),
        (WhiteBox(source="api", loss="top_k", temperature_by="token"), 'temperature_by = "token" needs logits'),
    ],
)
def test_what_an_api_cannot_give_is_refused_before_any_compute(tmp_path: Path, method: WhiteBox, message: str) -> None:
    write_sums(tmp_path / "data")
    with pytest.raises(RecipeError, match=message):
        train(recipe(tmp_path, method=method), tmp_path / "data", tmp_path / "work", report=Log())
    assert not (tmp_path / "work" / "checkpoints").exists()


def test_a_losss_options_are_checked(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox(options={"colour": 1}))
    with pytest.raises(RecipeError, match=r"\[method.options\] does not fit the loss 'forward_kl'"):
        train(plan, tmp_path / "data", tmp_path / "work", report=Log(), teacher_folder=teacher_folder(tmp_path))


def test_a_temperature_is_annealed_or_follows_how_unsure_the_teacher_is() -> None:
    sure_NV = torch.tensor([[50.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    tokens_N = torch.zeros(2, dtype=torch.long)
    annealed = Temperature(WhiteBox(temperature=4.0, temperature_end=1.0))
    assert [annealed.of_rows(p, Dense(sure_NV), tokens_N)[0].item() for p in (0.0, 0.5, 1.0)] == [4.0, 2.5, 1.0]
    by_token_N = Temperature(WhiteBox(temperature=4.0, temperature_by="token")).of_rows(0.0, Dense(sure_NV), tokens_N)
    assert by_token_N.tolist() == pytest.approx([4.0, 1.0])


def test_what_a_distribution_says_of_itself_is_read_in_slices() -> None:
    scores_NV = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    tokens_N = torch.arange(9) % 5
    p_NV = scores_NV.softmax(-1)
    assert torch.allclose(entropy(Dense(scores_NV), tokens_N), -(p_NV * p_NV.log()).sum(-1), atol=1e-6)
    assert torch.allclose(surprise(Dense(scores_NV), tokens_N), -p_NV.gather(-1, tokens_N[:, None]).log()[:, 0], atol=1e-6)


def test_features_are_learnt_beside_the_distribution_and_resume_exactly(tmp_path: Path) -> None:
    features = (Feature(loss="hidden_states"), Feature(loss="relations", layers="last"))
    log = check_resume(tmp_path, WhiteBox(features=features), teacher_folder=teacher_folder(tmp_path))
    assert log.curve[6]["train/hidden_states"] < log.curve[1]["train/hidden_states"]
    assert log.curve[6]["train/relations"] >= 0


def test_features_alone_need_no_distribution(tmp_path: Path) -> None:
    method = WhiteBox(loss="none", weight=1.0, features=(Feature(loss="hidden_states"),))
    log = check_resume(tmp_path, method, teacher_folder=teacher_folder(tmp_path))
    assert "train/kd_loss" not in log.curve[6]


def test_a_share_of_the_steps_learns_from_the_students_own_words_and_resumes_exactly(tmp_path: Path) -> None:
    rollouts = Rollouts(share=0.5, max_tokens=8, every=3)
    check_resume(tmp_path, WhiteBox(loss="reverse_kl", rollouts=rollouts), teacher_folder=teacher_folder(tmp_path))


def test_the_policy_gradient_resumes_exactly(tmp_path: Path) -> None:
    rollouts = Rollouts(share=1.0, max_tokens=8, estimator="policy-gradient", mix=0.2)
    method = WhiteBox(loss="reverse_kl", rollouts=rollouts)
    check_resume(tmp_path, method, teacher_folder=teacher_folder(tmp_path))


@pytest.mark.parametrize("tier", ["hidden", "top_k", "sampled"])
def test_a_cached_teacher_is_asked_once_and_resumes_exactly(tmp_path: Path, tier: str) -> None:
    loss = {"hidden": "forward_kl", "top_k": "top_k", "sampled": "sampled"}[tier]
    method = WhiteBox(loss=loss, source="cache", cache=Cache.model_validate({"tier": tier, "k": 8}))
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path), "signals_folder": tmp_path / "signals"}
    log = check_resume(tmp_path, method, **folders)
    assert any("teacher's cache" in message for message in log.messages)


def test_a_cache_keeps_the_states_that_features_compare(tmp_path: Path) -> None:
    method = WhiteBox(source="cache", cache=Cache(states=True), features=(Feature(loss="hidden_states"),))
    log = check_resume(tmp_path, method, teacher_folder=teacher_folder(tmp_path), signals_folder=tmp_path / "signals")
    assert log.curve[6]["train/hidden_states"] > 0


def test_a_whole_cache_needs_no_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox(source="cache"), **STEPS)
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path), "signals_folder": tmp_path / "signals"}
    first = run(plan, tmp_path / "data", tmp_path / "first", **folders)

    def load(folder: Path) -> None:
        raise AssertionError("the teacher was loaded")

    monkeypatch.setattr(CausalStudent, "load", load)
    second = run(plan, tmp_path / "data", tmp_path / "second", **folders)
    assert second.curve == first.curve


def test_a_run_that_is_stopped_while_its_cache_is_built_ends_as_stopped(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, method=WhiteBox(source="cache"), **STEPS)
    folder = train(
        plan,
        tmp_path / "data",
        tmp_path / "work",
        report=Log(),
        should_stop=lambda: True,
        teacher_folder=teacher_folder(tmp_path),
    )
    assert folder is None


def test_pairs_are_learnt_from_and_resume_exactly(tmp_path: Path) -> None:
    pairs = [row.model_copy(update={"rejected": "The answer is 99."}) for row in sums()]
    write_sums(tmp_path / "pairs", pairs)
    cases: list[tuple[Preference, dict[str, Any]]] = [
        (Preference(), {}),
        (Preference(loss="contrastive"), {"teacher_folder": teacher_folder(tmp_path)}),
    ]
    for method, folders in cases:
        plan = recipe(tmp_path, method=method, **STEPS)
        name = method.loss
        whole = run(plan, tmp_path / "pairs", tmp_path / f"{name}-whole", **folders)
        first = run(plan, tmp_path / "pairs", tmp_path / f"{name}-parts", stop_at=4, **folders)
        second = run(plan, tmp_path / "pairs", tmp_path / f"{name}-parts", **folders)
        assert {**first.curve, **second.curve} == whole.curve


def test_another_tokenizer_is_compared_only_when_asked_for(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    letters = "".join(sorted(set(string.printable) - {"~"}, reverse=True))
    folder = tmp_path / "other"
    CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "other-tokenizer", letters=letters)), seed=3).save(folder)
    plan = recipe(tmp_path, method=WhiteBox(loss="ranked"), **STEPS)
    with pytest.raises(RecipeError, match='align = "bytes"'):
        run(plan, tmp_path / "data", tmp_path / "refused", teacher_folder=folder)
    for loss in ("ranked", "top_k"):
        asked = recipe(tmp_path, method=WhiteBox(loss=loss, align="bytes"), **STEPS)
        log = run(asked, tmp_path / "data", tmp_path / loss, teacher_folder=folder)
        assert log.curve[6]["train/kd_loss"] > 0
    with pytest.raises(RecipeError, match="what two tokenizers have in common"):
        asked = recipe(tmp_path, method=WhiteBox(align="bytes"), **STEPS)
        run(asked, tmp_path / "data", tmp_path / "wrong", teacher_folder=folder)


def test_weights_that_are_frozen_stay_as_they_are(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, **{**STEPS, "frozen": ["*embed_tokens*"]})
    run(plan, tmp_path / "data", tmp_path / "work")
    begun = CausalStudent.build(plan.student, seed=0).network.get_input_embeddings().weight
    student = CausalStudent.load(tmp_path / "work" / "student").network
    assert torch.equal(student.get_input_embeddings().weight, begun)
    with pytest.raises(RecipeError, match=r"no weight is called 'colour'"):
        run(recipe(tmp_path, **{**STEPS, "frozen": ["colour"]}), tmp_path / "data", tmp_path / "no")
    with pytest.raises(RecipeError, match="leaves nothing to train"):
        run(recipe(tmp_path, **{**STEPS, "frozen": ["*"]}), tmp_path / "data", tmp_path / "none")


def test_stages_that_compare_the_same_states_share_teacher_and_projections(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    features = (Feature(loss="hidden_states"),)
    stages = (Stage(share=0.5, method={"loss": "none", "weight": 1.0}), Stage(share=0.5, method={"weight": 0.5}))
    plan = recipe(tmp_path, method=WhiteBox(features=features), **STEPS).model_copy(update={"stages": stages})
    folders: dict[str, Any] = {"teacher_folder": teacher_folder(tmp_path)}
    whole = run(plan, tmp_path / "data", tmp_path / "whole", **folders)
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=2, **folders)
    second = run(plan, tmp_path / "data", tmp_path / "parts", **folders)
    assert {**first.curve, **second.curve} == whole.curve
    assert whole.curve[4]["train/hidden_states"] < whole.curve[1]["train/hidden_states"]


def test_inner_states_of_several_teachers_are_refused(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    method = WhiteBox(features=(Feature(loss="hidden_states"),))
    plan = recipe(tmp_path, method=method, teacher=teachers(tmp_path, (), ()), **STEPS)
    with pytest.raises(RecipeError, match=r"names several. Keep one"):
        run(plan, tmp_path / "data", tmp_path / "work", member_folders=(teacher_folder(tmp_path, 7), teacher_folder(tmp_path, 8)))
