"""Where the signal comes from: several teachers, the student's own average, a peer that learns too. Each resumes exactly."""

from __future__ import annotations

import string
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError
from stillhouse.losses.forward_kl import ForwardKL
from stillhouse.losses.sources import Projected
from stillhouse.method import Feature, Rollouts, WhiteBox
from stillhouse.recipe import Adapter, Member, Teacher
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Encoded
from stillhouse.training import train
from stillhouse.training.objective import Distillation
from stillhouse.training.teachers.average import AverageTeacher
from stillhouse.training.teachers.live import LiveTeacher
from stillhouse.training.teachers.mutual import MutualTeacher
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import SHORT, Log, check_resume, recipe, run, sums, teacher_folder, write_sums


def tasked() -> list[Example]:
    return [row.model_copy(update={"metadata": {"task": "even" if i % 2 else "odd"}}) for i, row in enumerate(sums())]


def teachers(root: Path, *tasks: tuple[str, ...], combine: str = "weight") -> Teacher:
    members = tuple(Member(model=f"teacher-{i}", tasks=names) for i, names in enumerate(tasks))
    return Teacher(members=members, combine=combine)


def resumed(root: Path, method: WhiteBox, *, teacher: Teacher | None = None, **folders: Any) -> Log:
    """A run by this method, stopped in the middle and taken up again: the log of one in one go."""
    write_sums(root / "data", tasked())
    plan = recipe(root, method=method, teacher=teacher, **SHORT)
    return check_resume(plan, root / "data", root, **folders)


@pytest.mark.parametrize("combine", ["weight", "task", "confidence"])
def test_several_teachers_resume_exactly(tmp_path: Path, combine: str) -> None:
    folders = (teacher_folder(tmp_path, 7), teacher_folder(tmp_path, 8))
    tasks: tuple[tuple[str, ...], ...] = (("even",), ("odd",)) if combine == "task" else ((), ())
    spec = teachers(tmp_path, *tasks, combine=combine)
    log = resumed(tmp_path, WhiteBox(), teacher=spec, member_folders=folders)
    assert log.curve[6]["train/kd_loss"] > 0


def test_the_average_teacher_resumes_exactly_and_follows_the_student(tmp_path: Path) -> None:
    log = resumed(tmp_path, WhiteBox(source="ema", weight=0.5))
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
    log = resumed(tmp_path, WhiteBox(source="mutual", weight=0.5))
    assert log.curve[6]["train/peer_loss"] < log.curve[1]["train/peer_loss"]


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
@pytest.mark.parametrize("source", ["ema", "mutual"])
def test_beside_weights_in_four_bits_adapters_alone_are_averaged_and_taught(tmp_path: Path, source: Any) -> None:
    plan = recipe(tmp_path, method=WhiteBox(source=source, weight=0.5), **SHORT)
    student = plan.student.model_copy(update={"adapter": Adapter(rank=2, alpha=8.0, bits=4)})
    write_sums(tmp_path / "data")
    log = run(plan.model_copy(update={"student": student}), tmp_path / "data", tmp_path / "work")
    assert log.curve[6]["train/kd_loss"] > 0


def test_a_named_teacher_can_be_the_peer(tmp_path: Path) -> None:
    log = resumed(tmp_path, WhiteBox(source="mutual"), teacher=Teacher(model="t"), teacher_folder=teacher_folder(tmp_path))
    assert log.curve[6]["train/peer_loss"] < log.curve[1]["train/peer_loss"]


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


def test_features_are_learnt_beside_the_distribution_and_resume_exactly(tmp_path: Path) -> None:
    features = (Feature(loss="hidden_states"), Feature(loss="relations", layers="last"))
    log = resumed(tmp_path, WhiteBox(features=features), teacher_folder=teacher_folder(tmp_path))
    assert log.curve[6]["train/hidden_states"] < log.curve[1]["train/hidden_states"]
    assert log.curve[6]["train/relations"] >= 0


def test_features_alone_need_no_distribution(tmp_path: Path) -> None:
    method = WhiteBox(loss="none", weight=1.0, features=(Feature(loss="hidden_states"),))
    log = resumed(tmp_path, method, teacher_folder=teacher_folder(tmp_path))
    assert "train/kd_loss" not in log.curve[6]


def test_a_share_of_the_steps_learns_from_the_students_own_words_and_resumes_exactly(tmp_path: Path) -> None:
    rollouts = Rollouts(share=0.5, max_tokens=8, every=3)
    resumed(tmp_path, WhiteBox(loss="reverse_kl", rollouts=rollouts), teacher_folder=teacher_folder(tmp_path))


def test_the_policy_gradient_resumes_exactly(tmp_path: Path) -> None:
    rollouts = Rollouts(share=1.0, max_tokens=8, estimator="policy-gradient", mix=0.2)
    method = WhiteBox(loss="reverse_kl", rollouts=rollouts)
    resumed(tmp_path, method, teacher_folder=teacher_folder(tmp_path))


def test_another_tokenizer_is_compared_only_when_asked_for(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    letters = "".join(sorted(set(string.printable) - {"~"}, reverse=True))
    folder = tmp_path / "other"
    CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "other-tokenizer", letters=letters)), seed=3).save(folder)
    plan = recipe(tmp_path, method=WhiteBox(loss="ranked"), **SHORT)
    with pytest.raises(RecipeError, match='align = "bytes"'):
        run(plan, tmp_path / "data", tmp_path / "refused", teacher_folder=folder)
    for loss in ("ranked", "top_k"):
        asked = recipe(tmp_path, method=WhiteBox(loss=loss, align="bytes"), **SHORT)
        log = run(asked, tmp_path / "data", tmp_path / loss, teacher_folder=folder)
        assert log.curve[6]["train/kd_loss"] > 0
    with pytest.raises(RecipeError, match="what two tokenizers have in common"):
        asked = recipe(tmp_path, method=WhiteBox(align="bytes"), **SHORT)
        run(asked, tmp_path / "data", tmp_path / "wrong", teacher_folder=folder)


def test_inner_states_of_several_teachers_are_refused(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    method = WhiteBox(features=(Feature(loss="hidden_states"),))
    plan = recipe(tmp_path, method=method, teacher=teachers(tmp_path, (), ()), **SHORT)
    with pytest.raises(RecipeError, match=r"names several. Keep one"):
        run(plan, tmp_path / "data", tmp_path / "work", member_folders=(teacher_folder(tmp_path, 7), teacher_folder(tmp_path, 8)))
