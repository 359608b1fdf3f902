from __future__ import annotations

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from stillhouse.training.order import Order

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
