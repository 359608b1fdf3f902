"""A T5 that is some of its teacher's layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.errors import RecipeError
from stillhouse.recipe import Adapter, Initialisation, Student
from stillhouse.students.seq2seq import Seq2SeqStudent
from tests.students.test_seq2seq import EXAMPLES
from tests.students.tiny_t5 import BART, T5, T5_1_1, UMT5, build, shake

torch.set_num_threads(1)

DEEP: dict[str, dict[str, Any]] = {
    "t5": {**T5, "num_layers": 4},
    "t5-1.1": {**T5_1_1, "num_layers": 4},
    "umt5": {**UMT5, "num_layers": 4},
    "bart": {**BART, "encoder_layers": 4, "decoder_layers": 4},
}


def spec(**changes: Any) -> Student:
    return Student(kind="seq2seq", **{"init": Initialisation(), **changes})


def scores(student: Seq2SeqStudent) -> torch.Tensor:
    student.network.eval()
    with torch.no_grad():
        return student.output(student.collate(student.encode(EXAMPLES, max_tokens=100))).scores_NV


@pytest.mark.parametrize("config", DEEP.values(), ids=DEEP)
def test_all_layers_are_the_teacher_itself(tmp_path: Path, config: dict[str, Any]) -> None:
    teacher = build(tmp_path, config)
    shake(teacher)
    torch.testing.assert_close(scores(Seq2SeqStudent.build(spec(), teacher=teacher)), scores(teacher))


@pytest.mark.parametrize("family", ["t5", "t5-1.1", "umt5"])  # BART norms after every addition: no layer of it does nothing
def test_a_layer_that_does_nothing_can_be_left_out(tmp_path: Path, family: str) -> None:
    """The middle layers add nothing, so a student of the first and the last says what the teacher says."""
    teacher = build(tmp_path, DEEP[family])
    shake(teacher)
    with torch.no_grad():
        for stack in (teacher.network.encoder, teacher.network.decoder):
            for block in stack.block[1:3]:
                for name, weight in block.named_parameters():
                    if name.endswith((".o.weight", ".wo.weight")):
                        weight.zero_()
    student = Seq2SeqStudent.build(spec(config={"num_layers": 2}), teacher=teacher)
    assert student.network.config.num_decoder_layers == 2
    assert student.parameters < teacher.parameters
    torch.testing.assert_close(scores(student), scores(teacher), rtol=1e-4, atol=1e-4)


def test_each_side_has_its_own_depth_and_an_adapter_fits_on_top(tmp_path: Path) -> None:
    teacher = build(tmp_path, DEEP["t5"])
    config = {"num_layers": 3, "num_decoder_layers": 1}
    student = Seq2SeqStudent.build(spec(config=config, adapter=Adapter(rank=2)), teacher=teacher)
    assert (len(student.network.encoder.block), len(student.network.decoder.block)) == (3, 1)
    assert all(".lora_" in name for name, p in student.network.named_parameters() if p.requires_grad)


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    teacher = build(tmp_path, T5)
    with pytest.raises(RecipeError, match="d_model: .* has the teacher's widths"):
        Seq2SeqStudent.build(spec(config={"d_model": 8}), teacher=teacher)
    with pytest.raises(RecipeError, match="3 layers and its teacher 2"):
        Seq2SeqStudent.build(spec(config={"num_layers": 3}), teacher=teacher)
    with pytest.raises(RecipeError, match="set .teacher. model to a T5"):
        Seq2SeqStudent.build(spec())
    with pytest.raises(RecipeError, match='vocabulary = "all"'):
        Seq2SeqStudent.build(spec(init=Initialisation(vocabulary="task")), teacher=teacher)
