"""An encoder-decoder's micro-batch: what is read, what is predicted, what is out of sight."""

from __future__ import annotations

from stillhouse.students.collating.seq2seq import collate_seq2seq
from stillhouse.tensors import Encoded

PAD, START = 0, 9
ROWS = [
    Encoded("a", (5, 6, 1), 3, 1.0, targets=(7, 8, 1)),
    Encoded("b", (5, 1), 2, 0.5, targets=(4, 1), task="sum"),
]


def test_each_token_of_an_answer_is_predicted_from_those_before_it() -> None:
    batch = collate_seq2seq(ROWS, pad_id=PAD, start_id=START)
    assert batch.inputs["input_ids"].tolist() == [[5, 6, 1], [5, 1, PAD]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.inputs["decoder_input_ids"].tolist() == [[START, 7, 8], [START, 4, PAD]]
    assert batch.positions_N.tolist() == [0, 1, 2, 3, 4]
    assert batch.targets_N.tolist() == [7, 8, 1, 4, 1]
    assert batch.owners_N.tolist() == [0, 0, 0, 1, 1]
    assert batch.weights_N.tolist() == [1, 1, 1, 0.5, 0.5]
    assert (batch.examples, batch.tasks, batch.real_tokens) == (("a", "b"), ("", "sum"), 10)


def test_positions_count_in_the_flattened_output() -> None:
    batch = collate_seq2seq(ROWS[::-1], pad_id=PAD, start_id=START)
    assert batch.positions_N.tolist() == [0, 1, 3, 4, 5]
    read_N = batch.inputs["decoder_input_ids"].flatten()[batch.positions_N].tolist()
    assert list(zip(read_N, batch.targets_N.tolist(), strict=True)) == [(START, 4), (4, 1), (START, 7), (7, 8), (8, 1)]


def test_numbers_of_single_rows_come_along() -> None:
    one = Encoded("a", (5, 1), 2, 1.0, targets=(7, 1), extra={"log_q": (0.5, 0.25)})
    batch = collate_seq2seq([one, one], pad_id=PAD, start_id=START)
    assert batch.extra["log_q"].tolist() == [0.5, 0.25, 0.5, 0.25]
