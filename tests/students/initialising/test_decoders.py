"""A decoder that starts from its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from stillhouse.errors import RecipeError
from stillhouse.recipe import Adapter, Initialisation, Student
from stillhouse.students.causal import CausalStudent
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import sums

torch.set_num_threads(1)

EXAMPLES = sums()[:12]
LLAMA = {"num_attention_heads": 4, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "qwen2": {"tie_word_embeddings": False},
    "qwen3": {"head_dim": 16},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 256},
}


def teacher_of(root: Path, family: str) -> CausalStudent:
    given = tiny_spec(write_tokenizer(root / "tokenizer"))
    config = FAMILIES[family] if family == "gpt2" else {**given.config, "model_type": family, **FAMILIES[family]}
    teacher = CausalStudent.build(given.model_copy(update={"config": config}))
    teacher.network.eval()
    return teacher


def started(teacher: CausalStudent, init: Initialisation | None = None, **config: Any) -> CausalStudent:
    student = CausalStudent.build(
        Student(kind="causal", config=config, init=init or Initialisation()), examples=EXAMPLES, teacher=teacher
    )
    student.network.eval()
    return student


def test_a_start_from_the_teacher_can_be_adapted(tmp_path: Path) -> None:
    teacher = teacher_of(tmp_path, "llama")
    spec = Student(kind="causal", config={"num_hidden_layers": 1}, init=Initialisation(), adapter=Adapter(rank=2))
    student = CausalStudent.build(spec, examples=EXAMPLES, teacher=teacher)
    trained = [name for name, parameter in student.network.named_parameters() if parameter.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    student.network.eval()
    assert torch.equal(logits(student), logits(started(teacher, num_hidden_layers=1)))


def logits(student: CausalStudent) -> torch.Tensor:
    [row, *_] = student.encode(EXAMPLES, max_tokens=256)
    with torch.no_grad():
        scores_1TV: torch.Tensor = student.network(torch.tensor([row.tokens])).logits
    return scores_1TV


@pytest.mark.parametrize("family", FAMILIES)
def test_of_the_teacher_s_own_size_it_is_the_teacher(tmp_path: Path, family: str) -> None:
    teacher = teacher_of(tmp_path, family)
    assert torch.equal(logits(started(teacher)), logits(teacher))


@pytest.mark.parametrize("family", FAMILIES)
def test_smaller_it_is_still_what_transformers_loads(tmp_path: Path, family: str) -> None:
    student = started(teacher_of(tmp_path, family), hidden_size=16, num_hidden_layers=1)
    student.save(tmp_path / "student")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "student")
    [row, *_] = student.encode(EXAMPLES, max_tokens=256)
    with torch.no_grad():
        torch.testing.assert_close(plain(torch.tensor([row.tokens])).logits, logits(student))


def test_a_student_without_a_decoder_for_a_teacher_is_refused() -> None:
    with pytest.raises(RecipeError, match="teacher"):
        CausalStudent.build(Student(kind="causal", init=Initialisation()), examples=EXAMPLES)
