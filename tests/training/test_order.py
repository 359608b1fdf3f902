from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.recipe import Curriculum
from stillhouse.tensors import Encoded
from stillhouse.training.curriculum import EasyFirst, competence, difficulties
from stillhouse.training.order import Order
from tests.training.runs import recipe, run, write_sums

lengths = st.lists(st.integers(2, 50), min_size=1, max_size=300)


@given(lengths, st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**70), st.booleans())
def test_every_example_comes_once_an_epoch(rows: list[int], batch_size: int, accumulate: int, seed: int, bucket: bool) -> None:
    order = Order(rows, batch_size=batch_size, accumulate=accumulate, seed=seed, bucket=bucket)
    for epoch in range(2):
        steps = [order.micro_batches(epoch * order.steps_per_epoch + i) for i in range(order.steps_per_epoch)]
        assert sorted(chain.from_iterable(chain.from_iterable(steps))) == list(range(len(rows)))
        sizes = sorted(sum(map(len, step)) for step in steps)
        assert set(sizes[1:]) <= {batch_size * accumulate}
        assert all(len(batch) <= batch_size for step in steps for batch in step)


@given(lengths, st.booleans())
def test_how_a_window_is_cut_does_not_change_what_is_in_it(rows: list[int], bucket: bool) -> None:
    whole, cut = (Order(rows, batch_size=size, accumulate=12 // size, seed=3, bucket=bucket) for size in (12, 3))
    for step in range(2 * whole.steps_per_epoch):
        assert list(chain.from_iterable(whole.micro_batches(step))) == list(chain.from_iterable(cut.micro_batches(step)))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def steps(seed: int) -> list[list[list[int]]]:
        order = Order(range(2, 102), batch_size=10, accumulate=1, seed=seed, bucket=False)
        return [order.micro_batches(step) for step in (12, 3, 12)]

    assert steps(1) == steps(1)
    assert steps(1) != steps(2)
    assert steps(1)[0] == steps(1)[2]
    assert steps(1)[0] != Order(range(2, 102), batch_size=10, accumulate=1, seed=1, bucket=False).micro_batches(2)


def test_bucketing_pads_less() -> None:
    rows = [3 + 7 * i % 100 for i in range(1000)]

    def padding(bucket: bool) -> int:
        order = Order(rows, batch_size=20, accumulate=1, seed=0, bucket=bucket)
        batches = [[rows[i] for i in batch] for step in range(order.steps_per_epoch) for batch in order.micro_batches(step)]
        return sum(max(batch) * len(batch) - sum(batch) for batch in batches)

    assert padding(True) < padding(False) / 5


# -- the easy ones first -----------------------------------------------------------------------------------------------------


def easy_first(rows: list[int], *, steps: int = 100, bucket: bool = True, **options: float) -> EasyFirst:
    order = Order(rows, batch_size=4, accumulate=2, seed=5, bucket=bucket)
    return EasyFirst(order, [float(row) for row in rows], Curriculum(**options), steps)


def drawn(order: EasyFirst, step: int) -> list[int]:
    return list(chain.from_iterable(order.micro_batches(step)))


@given(lengths, st.booleans(), st.floats(0.05, 1), st.floats(0.05, 1))
def test_a_step_draws_from_the_easiest_share_each_at_most_once(rows: list[int], bucket: bool, start: float, until: float) -> None:
    order = easy_first(rows, bucket=bucket, start=start, until=until)
    ranked = sorted(rows)
    for step in range(round(until * 100)):
        window = drawn(order, step)
        known = max(1, round(competence(step, round(until * 100), start) * len(rows)))
        assert len(set(window)) == len(window) == min(8, known)
        assert max(rows[i] for i in window) <= ranked[known - 1]


def test_competence_grows_from_the_start_to_all() -> None:
    shares = [competence(step, 50, 0.2) for step in range(60)]
    assert shares[0] == pytest.approx(0.2)
    assert shares == sorted(shares)
    assert shares[25] == pytest.approx((0.04 + 0.96 / 2) ** 0.5)
    assert set(shares[50:]) == {1.0}


def test_after_it_epochs_begin() -> None:
    rows = list(range(2, 102))
    order, plain = easy_first(rows, until=0.3), Order(rows, batch_size=4, accumulate=2, seed=5, bucket=True)
    assert [order.micro_batches(30 + step) for step in range(26)] == [plain.micro_batches(step) for step in range(26)]


def test_what_is_drawn_depends_on_seed_and_step_alone() -> None:
    rows = [3 + 7 * i % 100 for i in range(100)]
    one, other = easy_first(rows), easy_first(rows)
    for step in range(20):
        other.micro_batches(step)
    assert [one.micro_batches(step) for step in (21, 3)] == [other.micro_batches(step) for step in (21, 3)]
    assert one.micro_batches(3) != one.micro_batches(4)


def test_batches_are_of_like_length_and_every_example_is_as_likely() -> None:
    rows = [3 + 7 * i % 101 for i in range(64)]
    order = easy_first(rows, start=1.0, until=1.0, steps=4000)
    windows = [drawn(order, step) for step in range(4000)]
    counts = Counter(chain.from_iterable(windows))
    assert len(counts) == 64 and max(counts.values()) < 1.25 * min(counts.values())
    assert sum(max(rows[i] for i in w) - min(rows[i] for i in w) for w in windows) / 4000 < 20


def example(name: str, **metadata: str) -> Example:
    return Example(id=name, messages=[], answer="a", metadata=metadata)


def test_difficulty_is_the_length_or_a_number_in_the_metadata() -> None:
    examples = [example("a", steps="3"), example("b", steps="0.5")]
    rows = [Encoded("a", (1, 2), 1, 1.0), Encoded("b", (1, 2, 3), 1, 1.0)]
    assert difficulties(examples, rows, "length") == [2.0, 3.0]
    assert difficulties(examples, rows, "steps") == [3.0, 0.5]


@pytest.mark.parametrize(("metadata", "said"), [({}, "none"), ({"steps": "many"}, "'many'"), ({"steps": "nan"}, "'nan'")])
def test_an_example_without_the_number_is_named(metadata: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match=rf"by = \"steps\": the example b has {said} in its metadata, not a number"):
        difficulties([example("b", **metadata)], [Encoded("b", (1, 2), 1, 1.0)], "steps")


def test_a_run_with_a_curriculum_resumes_exactly(tmp_path: Path) -> None:
    write_sums(tmp_path / "data")
    plan = recipe(tmp_path, curriculum=Curriculum(start=0.1, until=0.7))
    whole = run(plan, tmp_path / "data", tmp_path / "whole")
    first = run(plan, tmp_path / "data", tmp_path / "parts", stop_at=5)
    second = run(plan, tmp_path / "data", tmp_path / "parts")
    assert {**first.curve, **second.curve} == whole.curve
    assert whole.curve[1] != run(recipe(tmp_path, steps=1), tmp_path / "data", tmp_path / "plain").curve[1]
