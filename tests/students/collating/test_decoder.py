"""What is supervised, and where it stands: each kind's one place for it."""

from __future__ import annotations

import pytest
import torch

from stillhouse.students.collating.decoder import collate_decoder
from stillhouse.tensors import Encoded


def test_only_the_answers_tokens_are_supervised_each_one_place_before_it_stands() -> None:
    rows = [Encoded("a", (5, 6, 7, 8, 1), 3, 1.0), Encoded("b", (5, 9, 1), 1, 0.5)]
    batch = collate_decoder(rows, pad_id=0)
    assert batch.inputs["input_ids"].tolist() == [[5, 6, 7, 8, 1], [5, 9, 1, 0, 0]]
    assert batch.positions_N.tolist() == [2, 3, 5, 6]
    assert batch.targets_N.tolist() == [8, 1, 9, 1]
    assert batch.weights_N.tolist() == [1.0, 1.0, 0.5, 0.5]
    assert (batch.real_tokens, batch.examples) == (8, ("a", "b"))
    assert batch.to(torch.device("cpu")) is not None


@pytest.mark.parametrize("pad_id", [0, 1])
def test_an_end_token_that_also_pads_is_still_supervised(pad_id: int) -> None:
    batch = collate_decoder([Encoded("a", (5, 8, 1), 1, 1.0), Encoded("b", (5, 8, 8, 8, 1), 1, 1.0)], pad_id=pad_id)
    assert batch.targets_N.tolist() == [8, 1, 8, 8, 8, 1]
