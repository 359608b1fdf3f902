"""Bugs that other trainers had, one test each, named after where they were: what is counted, divided, masked and dropped.

Those of the losses themselves are in `tests/losses/test_museum.py`. Shapes: N supervised positions, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Batch, Encoded
from stillhouse.training.base import Job
from stillhouse.training.feeds import DatasetFeed
from stillhouse.training.objective import Objective, Window
from stillhouse.training.order import Order
from stillhouse.training.trainer import Trainer
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.runs import Log, recipe

UNEVEN = [Encoded(f"row-{i}", tuple(range(4, 10 + n)), 5, 1.0) for i, n in enumerate((1, 30, 2, 1, 1, 25, 3, 1))]
"""Answers of 2 to 31 tokens: any mean that is not over all of them is far off."""


class Heard(Objective):
    """Cross-entropy that remembers what it was asked for."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.rows: list[int] = []
        self.examples: Counter[str] = Counter()

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        self.windows.append(window)
        self.rows.append(len(batch.targets_N))
        self.examples.update(batch.examples)
        return super().losses(student, batch, window)


class Fixed:
    """Feeds one window again and again."""

    steps_per_epoch = 1

    def __init__(self, parts: Sequence[Sequence[Encoded]]) -> None:
        self._parts = parts

    def window(self, step: int) -> list[list[Encoded]]:
        return [list(part) for part in self._parts]

    def state(self) -> Mapping[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        pass


def student(root: Path, **shape: Any) -> CausalStudent:
    return CausalStudent.build(tiny_spec(write_tokenizer(root / "tokenizer"), **shape), seed=1)


def trained(
    root: Path, feed: Any, *, steps: int = 1, made: CausalStudent | None = None, objective: Objective | None = None
) -> tuple[Log, Heard]:
    log, heard = Log(), Heard()
    plan = recipe(root, steps=steps, dropout=0.0, checkpoint_every=1000)
    work = root / f"work-{len(list(root.iterdir()))}"
    work.mkdir()
    job = Job(plan, root, work, None, None, log, lambda: False)
    Trainer(job, made or student(root), objective or heard, feed, [], "test").run()
    return log, heard


def cut_by(size: int) -> list[list[Encoded]]:
    return [UNEVEN[start : start + size] for start in range(0, len(UNEVEN), size)]


def mean_cross_entropy(made: CausalStudent, rows: Sequence[Encoded]) -> float:
    """By transformers' own scores, one example at a time, every answer token with the position before it."""
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            log_q_TV = made.network(input_ids=torch.tensor([row.tokens])).logits[0].log_softmax(-1)
            for at in range(row.answer_start, len(row.tokens)):
                total, count = total - log_q_TV[at - 1, row.tokens[at]].item(), count + 1
    return total / count


@pytest.mark.parametrize("size", [8, 4, 2, 1])
def test_trl_4719_6006_swift_10165_a_mean_of_each_micro_batch_under_accumulation(tmp_path: Path, size: int) -> None:
    expected = mean_cross_entropy(student(tmp_path), UNEVEN)
    log, heard = trained(tmp_path, Fixed(cut_by(size)))
    assert log.curve[1]["train/loss"] == pytest.approx(expected, rel=1e-5)
    assert {window.rows for window in heard.windows} == {sum(len(row.tokens) - 5 for row in UNEVEN)}


@pytest.mark.parametrize("size", [4, 2, 1])
def test_trl_4719_the_gradient_is_that_of_the_whole_window(tmp_path: Path, size: int) -> None:
    whole, _ = trained(tmp_path, Fixed(cut_by(8)), steps=3)
    cut, _ = trained(tmp_path, Fixed(cut_by(size)), steps=3)
    for step, metrics in whole.curve.items():
        assert cut.curve[step] == pytest.approx(metrics, rel=1e-5)


def test_trl_6478_the_denominator_counts_generated_tokens_not_the_datasets(tmp_path: Path) -> None:
    """A rollout stands where the dataset's answer stood, and is of another length."""
    said = [replace(row, tokens=(*row.tokens[:5], *range(20, 23 + i))) for i, row in enumerate(UNEVEN)]
    expected = mean_cross_entropy(student(tmp_path), said)
    log, heard = trained(tmp_path, Fixed([said[:3], said[3:]]))
    assert {window.rows for window in heard.windows} == {sum(3 + i for i in range(8))}
    assert log.curve[1]["train/loss"] == pytest.approx(expected, rel=1e-5)


def test_trl_6357_the_end_token_is_learnt_where_it_is_the_padding_too(tmp_path: Path) -> None:
    made = student(tmp_path)
    made.pad_id = made.eos_id
    rows = [replace(row, tokens=(*row.tokens, made.eos_id)) for row in UNEVEN]
    batch = made.collate(rows)
    assert (batch.targets_N == made.eos_id).sum() == len(rows)
    log, _ = trained(tmp_path, Fixed([rows]), made=made)
    assert log.curve[1]["train/loss"] == pytest.approx(mean_cross_entropy(student(tmp_path), rows), rel=1e-5)


def test_trl_5885_a_fully_truncated_completion_gave_nan(tmp_path: Path) -> None:
    """Alone in its micro-batch it adds nothing; alone in the window the loss is 0 and no weight turns into NaN."""
    silent = replace(UNEVEN[0], tokens=UNEVEN[0].tokens[:5])
    made = student(tmp_path)
    expected = mean_cross_entropy(made, UNEVEN)
    log, _ = trained(tmp_path, Fixed([UNEVEN, [silent]]), made=student(tmp_path))
    assert log.curve[1]["train/loss"] == pytest.approx(expected, rel=1e-5)
    log, _ = trained(tmp_path, Fixed([[silent]]), steps=2, made=made)
    assert [log.curve[step]["train/loss"] for step in (1, 2)] == [0.0, 0.0]
    assert all(parameter.isfinite().all() for parameter in made.network.parameters())


def test_trl_minillm_padding_entered_the_divergence(tmp_path: Path) -> None:
    """A long example of no weight pads all others; nothing changes."""
    long = Encoded("long", tuple(range(4, 90)), 85, 0.0)
    plain, heard = trained(tmp_path, Fixed([UNEVEN]), steps=3)
    padded, _ = trained(tmp_path, Fixed([[*UNEVEN, long]]), steps=3)
    assert heard.rows[0] == sum(len(row.tokens) - 5 for row in UNEVEN)
    read = {"train/tokens"}  # the long one is read, too
    for step, metrics in plain.curve.items():
        same = {name: value for name, value in padded.curve[step].items() if name not in read}
        assert same == pytest.approx({name: value for name, value in metrics.items() if name not in read}, rel=1e-4)


@pytest.mark.parametrize("bucket", [False, True])
def test_tinybert_dropped_the_last_partial_batch(tmp_path: Path, bucket: bool) -> None:
    order = Order([row.length for row in UNEVEN], batch_size=3, accumulate=1, seed=0, bucket=bucket)
    _, heard = trained(tmp_path, DatasetFeed(UNEVEN, order), steps=2 * order.steps_per_epoch)
    assert heard.examples == Counter({row.example: 2 for row in UNEVEN})


def test_tinybert_the_last_partial_batch_is_divided_by_its_own_rows(tmp_path: Path) -> None:
    order = Order([row.length for row in UNEVEN], batch_size=5, accumulate=1, seed=0, bucket=False)
    _, heard = trained(tmp_path, DatasetFeed(UNEVEN, order), steps=2)
    assert [window.rows for window in heard.windows] == [float(rows) for rows in heard.rows]
    assert heard.windows[0].examples == 5 and heard.windows[1].examples == 3


def test_easydistill_divided_by_the_token_count_twice_and_did_not_shift_labels(tmp_path: Path) -> None:
    log, _ = trained(tmp_path, Fixed([UNEVEN]))
    made = student(tmp_path)
    unshifted = [replace(row, tokens=(*row.tokens[1:], 0)) for row in UNEVEN]
    assert log.curve[1]["train/loss"] == pytest.approx(mean_cross_entropy(made, UNEVEN), rel=1e-5)
    assert abs(log.curve[1]["train/loss"] - mean_cross_entropy(made, unshifted)) > 1e-3


class Plain(Objective):
    """A loss that reads no number of its own, as the fused one does on a processor."""

    def losses(self, student: Trainable, batch: Batch, window: Window) -> dict[str, Tensor]:
        log_q_NV = student.output(batch).scores_NV.log_softmax(-1)
        return {"loss": -(log_q_NV.gather(-1, batch.targets_N[:, None])).sum() / window.rows}


def test_distillkit_waited_for_the_device_at_every_micro_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many micro-batches a step has, its losses are read once."""
    reads: list[int] = []
    tolist = Tensor.tolist

    def counted(tensor: Tensor) -> Any:
        reads.append(tensor.numel())
        return tolist(tensor)

    monkeypatch.setattr(Tensor, "tolist", counted)
    monkeypatch.setattr(Tensor, "item", lambda self: pytest.fail("a loss was waited for"))
    for size in (8, 1):
        trained(tmp_path, Fixed(cut_by(size)), objective=Plain())
    assert reads == [2, 9], "the losses and the norm of the gradient"
