"""A table from code words: what it keeps, what it costs, what is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.students.networks.codes import WORDS, CodedTable

torch.set_num_threads(1)


def table(rows: int, columns: int = 16) -> Tensor:
    """Columns that depend on each other, as those of embeddings do."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, 6, generator=generator) @ torch.randn(6, columns, generator=generator) + 3.0


def test_as_many_rows_as_code_words_are_kept_exactly() -> None:
    rows_VE, coded = table(WORDS), CodedTable(WORDS, 16, 4)
    assert coded.fit(rows_VE) == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(coded.whole(), rows_VE, atol=0.02)  # near rows may share a word: float32


def test_more_groups_keep_more_and_cost_more() -> None:
    rows_VE = table(3000)
    tables = [CodedTable(3000, 16, groups) for groups in (2, 4, 8)]
    kept = [coded.fit(rows_VE) for coded in tables]
    assert 0.5 < kept[0] < kept[1] < kept[2] < 1
    assert [coded.numbers for coded in tables] == [3000 * groups + WORDS * 16 + 16 * 16 + 16 for groups in (2, 4, 8)]


def test_a_row_looked_up_is_the_row_of_the_whole() -> None:
    coded = CodedTable(500, 16, 4)
    coded.fit(table(500))
    tokens_BT = torch.tensor([[3, 499, 3], [0, 1, 2]])
    assert torch.equal(coded(tokens_BT), coded.whole()[tokens_BT])


def test_words_turning_and_centre_are_trained_and_codes_are_not(tmp_path: Path) -> None:
    coded = CodedTable(500, 16, 4)
    coded.fit(table(500))
    coded(torch.tensor([[1, 2]])).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in coded.parameters())
    save_file(coded.state_dict(), tmp_path / "table.safetensors")
    other = CodedTable(500, 16, 4)
    other.load_state_dict(load_file(tmp_path / "table.safetensors"))
    assert torch.equal(other.whole(), coded.whole())


def test_the_same_seed_makes_the_same_codes() -> None:
    first, second = CodedTable(700, 16, 4), CodedTable(700, 16, 4)
    assert first.fit(table(700), seed=5) == second.fit(table(700), seed=5)
    assert torch.equal(first.codes_VM, second.codes_VM)


def test_groups_that_do_not_divide_the_columns_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"codes = 5 must divide the table's 16 columns"):
        CodedTable(10, 16, 5)
