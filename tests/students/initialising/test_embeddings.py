"""Tables with fewer columns: principal components, what a teacher says of a token alone, the projection back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.students.encoder import EncoderStudent
from stillhouse.students.initialising import embeddings
from stillhouse.students.initialising.embeddings import alike_in_size, components, projection, said_alone
from tests.students.tiny_encoders import COMPACT, spec, write_wordpieces


def test_components_hold_what_varies_most() -> None:
    torch.manual_seed(0)
    known_VX = torch.randn(200, 6) * torch.tensor([0.01, 5.0, 0.01, 3.0, 0.01, 0.01]) + 7
    table_VE = components(known_VX, 2)
    assert table_VE.square().mean().item() == pytest.approx(1.0)
    for column, source in enumerate((1, 3)):
        both = torch.corrcoef(torch.stack([table_VE[:, column], known_VX[:, source]]))
        assert abs(both[0, 1]) > 0.99


def test_accounts_side_by_side_count_alike() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(50, 3), 1000 * torch.randn(50, 5) + 9]
    both = alike_in_size(parts)
    torch.testing.assert_close(both.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    for part in torch.split(both, [3, 5], dim=1):
        assert part.square().mean().item() == pytest.approx(1.0)


def test_a_projection_finds_the_map_that_there_was() -> None:
    torch.manual_seed(0)
    table_VE, weight_SE, rest_S = torch.randn(40, 3), torch.randn(5, 3), torch.randn(5)
    found_SE, found_S = projection(table_VE, table_VE @ weight_SE.T + rest_S)
    torch.testing.assert_close(found_SE, weight_SE, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_S, rest_S, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", [{}, {"pooling": "mean"}, COMPACT])
def test_what_is_said_of_a_token_alone_is_the_state_before_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    monkeypatch.setattr(embeddings, "has_bfloat16", lambda device: False)
    monkeypatch.setattr(embeddings, "SLICE", 2)
    teacher = EncoderStudent.build(spec(write_wordpieces(tmp_path / "tokenizer"), labels=["a", "b"], **config), dropout=0.5)
    words = ["cat", "apple", "not"]
    said_VH = said_alone(teacher, teacher.tokenizer.convert_tokens_to_ids(words))
    chats = [[{"role": "user", "content": word}] for word in words]
    scores_VL = torch.cat(teacher.scores(teacher.questions(chats)))
    last = teacher.network.last
    torch.testing.assert_close(torch.nn.functional.linear(said_VH, last.weight, last.bias), scores_VL)
    assert teacher.network.training  # as it was


def test_a_teacher_that_changed_is_asked_again(tmp_path: Path) -> None:
    teacher = EncoderStudent.build(spec(write_wordpieces(tmp_path / "tokenizer"), labels=["a", "b"], **COMPACT))
    before_VH = said_alone(teacher, [4, 5])
    assert said_alone(teacher, [4, 5]) is before_VH
    assert len(said_alone(teacher, [4, 5, 6])) == 3
    with torch.no_grad():
        teacher.network.body.tokens.weight[4] += 1
    after_VH = said_alone(teacher, [4, 5])
    assert not torch.allclose(after_VH[0], before_VH[0])
    torch.testing.assert_close(after_VH[1], before_VH[1])


def test_half_precision_says_nearly_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = EncoderStudent.build(spec(write_wordpieces(tmp_path / "tokenizer"), labels=["a", "b"], **COMPACT))
    said = []
    for half in (True, False):
        monkeypatch.setattr(embeddings, "has_bfloat16", lambda device, half=half: half)
        said.append(said_alone(teacher, list(range(20))))
    assert said[0].dtype == torch.float32
    torch.testing.assert_close(said[0], said[1], atol=0.05, rtol=0.05)
