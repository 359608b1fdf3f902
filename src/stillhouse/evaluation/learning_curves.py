"""How accuracy grows with the number of texts learned from: a power law through what was measured, and what twice as many add.

The error falls as a + b n^-c (Hestness et al. 2017; Viering & Loog 2021 review when it does and when not): b and c say how fast,
a what is left however many there are. Runs in, numbers out: who trained what is the caller's affair.

S: sizes, R: runs, B: resamples, E: held-out examples, C: exponents that are tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillhouse.evaluation.intervals import share
from stillhouse.grade import Interval
from stillhouse.records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEWEST = 4
"""Sizes that a law of three numbers needs at least."""
RESAMPLES = 1000
EXPONENTS = (0.05, 2.0, 200)
"""From, to and how many are tried."""
WORTHWHILE = 0.005
"""Half a point: a doubling that adds less is not called worth it."""
FAR = 32
"""Times the texts there are; nothing is said of more."""


class CurveRun(Record):
    """One student: how many texts it learned from, and which of the held-out ones it answers right."""

    n: int
    seed: int
    right: str
    """`1` or `0` for each held-out example, in the same order in every run."""


class CurvePoint(Record):
    n: int
    accuracy: Interval
    """Mean of the seeds; the interval is Wilson's, for the number of held-out examples."""
    seeds: tuple[float, ...]


class PowerLaw(Record):
    """error(n) = a + b n^-c, all of them 0 or more."""

    a: float
    b: float
    c: float

    def error(self, n: float) -> float:
        """Expected share of wrong answers after learning from `n` texts; not above 1."""
        return min(1.0, self.a + self.b * math.pow(n, -self.c))


class Prediction(Record):
    n: int
    accuracy: Interval
    gain: Interval
    """Over what the law says of all texts, or (a check) of the largest size that it knows."""


class Check(Record):
    """The law of the smaller sizes against the largest one, which it was not shown."""

    n: int
    predicted: Interval
    measured: float


class LearningCurve(Record):
    """What was measured, the law through it, and what it predicts. Without a law where there are too few sizes."""

    student: str
    """The recipe's name."""
    held_out: str
    """The split that was asked."""
    examples: int
    """Held-out ones."""
    points: tuple[CurvePoint, ...]
    law: PowerLaw | None = None
    doubled: Prediction | None = None
    ceiling: Interval | None = None
    """1 - a: what more of the same data comes near to."""
    enough: int | None = None
    """From so many texts on a doubling adds less than half a point. None: not within `FAR` times what is there."""
    check: Check | None = None
    words: str = ""


def learning_curve(runs: Sequence[CurveRun], *, student: str, held_out: str, seed: int = 0) -> LearningCurve:
    """The curve through `runs`, which have one size or more. Intervals: percentile bootstrap over held-out examples and seeds.

    They say how much other examples and other draws would change the law. That it holds beyond the largest size they take for
    granted; `check` shows how far it did up to there.
    """
    import numpy as np

    sizes = sorted({run.n for run in runs})
    right_RE = np.array([np.frombuffer(run.right.encode(), dtype=np.uint8) == ord("1") for run in runs])
    members = [[row for row, run in enumerate(runs) if run.n == n] for n in sizes]
    points = tuple(_point(n, right_RE[rows]) for n, rows in zip(sizes, members, strict=True))
    curve = LearningCurve(student=student, held_out=held_out, examples=right_RE.shape[1], points=points)
    if len(sizes) < FEWEST:
        words = f"No law: {len(sizes)} sizes could be learned from, and {FEWEST} are needed."
        return curve.model_copy(update={"words": words})
    errors_S = np.array([1 - point.accuracy.value for point in points])
    drawn_BS = _resampled(right_RE, members, np.random.default_rng(seed))
    law, laws = fit(sizes, errors_S), _fits(np.array(sizes, dtype=float), drawn_BS, _weights(errors_S))
    doubled = _prediction(2 * sizes[-1], sizes[-1], law, laws)
    check = None
    if len(sizes) > FEWEST:
        earlier = fit(sizes[:-1], errors_S[:-1])
        others = _fits(np.array(sizes[:-1], dtype=float), drawn_BS[:, :-1], _weights(errors_S[:-1]))
        predicted = _prediction(sizes[-1], sizes[-2], earlier, others).accuracy
        check = Check(n=sizes[-1], predicted=predicted, measured=points[-1].accuracy.value)
    found = {
        "law": law,
        "doubled": doubled,
        "ceiling": _interval(1 - law.a, 1 - laws[:, 0]),
        "enough": _enough(law, FAR * sizes[-1]),
        "check": check,
    }
    whole = curve.model_copy(update=found)
    return whole.model_copy(update={"words": words_of(whole)})


def fit(sizes: Sequence[int], errors: Sequence[float] | NDArray[np.float64]) -> PowerLaw:
    """The law nearest to the errors, each difference taken relative to the error itself: large sizes count as much as small."""
    import numpy as np

    errors_S = np.asarray(errors, dtype=float)
    a, b, c = _fits(np.asarray(sizes, dtype=float), errors_S[None, :], _weights(errors_S))[0].tolist()
    return PowerLaw(a=a, b=b, c=c)


def words_of(curve: LearningCurve) -> str:
    """How much is enough, in a sentence or two."""
    doubled, last = curve.doubled, curve.points[-1].n
    if doubled is None:
        return curve.words
    gain = doubled.gain
    said = (
        f"Doubling the data ({last:,} to {doubled.n:,} texts) is expected to add {gain.value * 100:.1f} points "
        f"(95 %: {gain.low * 100:.1f} to {gain.high * 100:.1f})"
    )
    if curve.enough is not None and curve.enough <= last:
        return f"{said}: what is there is enough, more of the same adds less than half a point a doubling."
    if curve.enough is None:
        return f"{said}; a doubling adds half a point or more up to {FAR} times the data at least."
    return f"{said}; from about {_round(curve.enough):,} texts on a doubling adds less than half a point."


def _point(n: int, right_RE: NDArray[np.bool_]) -> CurvePoint:
    examples, value = right_RE.shape[1], float(right_RE.mean())
    around = share(round(value * examples), examples)
    accuracy = Interval(value=value, low=min(value, around.low), high=max(value, around.high))
    return CurvePoint(n=n, accuracy=accuracy, seeds=tuple(right_RE.mean(axis=1).tolist()))


def _resampled(right_RE: NDArray[np.bool_], members: Sequence[Sequence[int]], source: np.random.Generator) -> NDArray[np.float64]:
    """(B, S): the mean error of each size; one draw of examples for all runs, one of its seeds for each size."""
    import numpy as np

    examples = right_RE.shape[1]
    counts_BE = source.multinomial(examples, np.full(examples, 1 / examples), size=RESAMPLES)
    errors_BR = 1 - counts_BE @ right_RE.T.astype(float) / examples
    columns = []
    for rows in members:
        picked = source.integers(len(rows), size=(RESAMPLES, len(rows)))
        columns.append(np.take_along_axis(errors_BR[:, list(rows)], picked, axis=1).mean(axis=1))
    return np.stack(columns, axis=1)


def _weights(errors_S: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return 1 / np.maximum(errors_S, max(1e-3 * errors_S.max(), 1e-9)) ** 2


def _fits(sizes_S: NDArray[np.float64], errors_BS: NDArray[np.float64], weights_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B, 3): a, b, c for each row of errors. For each exponent a and b are weighted least squares, none below 0."""
    import numpy as np

    best_B, found_B3 = np.full(len(errors_BS), np.inf), np.zeros((len(errors_BS), 3))
    total = weights_S.sum()
    means_B = errors_BS @ weights_S / total
    scale = sizes_S[-1]  # powers of n / largest: n^-3 alone would be lost beside 1
    for c in np.geomspace(*EXPONENTS):
        powers_S = (sizes_S / scale) ** -c
        mean = powers_S @ weights_S / total
        b_B = ((errors_BS - means_B[:, None]) * (powers_S - mean)) @ weights_S / (((powers_S - mean) ** 2) @ weights_S)
        a_B = means_B - b_B * mean
        through_zero_B = (errors_BS * powers_S) @ weights_S / ((powers_S**2) @ weights_S)
        b_B = np.where(a_B < 0, through_zero_B, b_B)
        a_B = np.where(b_B < 0, means_B, np.maximum(0.0, a_B))
        b_B = np.maximum(0.0, b_B)
        loss_B = ((errors_BS - a_B[:, None] - b_B[:, None] * powers_S) ** 2) @ weights_S
        better_B = loss_B < best_B - 1e-12
        best_B = np.where(better_B, loss_B, best_B)
        found_B3[better_B] = np.stack([a_B, b_B * scale**c, np.full(len(a_B), c)], axis=1)[better_B]
    return found_B3


def _prediction(n: int, known: int, law: PowerLaw, laws_B3: NDArray[np.float64]) -> Prediction:
    import numpy as np

    def errors(size: int) -> NDArray[np.float64]:
        return np.minimum(1.0, laws_B3[:, 0] + laws_B3[:, 1] * float(size) ** -laws_B3[:, 2])

    accuracy = _interval(1 - law.error(n), 1 - errors(n))
    return Prediction(n=n, accuracy=accuracy, gain=_interval(law.error(known) - law.error(n), errors(known) - errors(n)))


def _interval(value: float, drawn_B: NDArray[np.float64]) -> Interval:
    import numpy as np

    low, high = np.quantile(drawn_B, [0.025, 0.975])
    return Interval(value=value, low=min(value, float(low)), high=max(value, float(high)))


def _enough(law: PowerLaw, most: int) -> int | None:
    """The size from which a doubling adds less than `WORTHWHILE`: b n^-c (1 - 2^-c) = `WORTHWHILE`."""
    step = law.b * (1 - 2**-law.c)
    n = (step / WORTHWHILE) ** (1 / law.c) if step > 0 else 0.0
    return math.ceil(n) if n <= most else None


def _round(n: int) -> int:
    """Two digits: the law knows no more."""
    digits = max(0, len(str(n)) - 2)
    return round(n, -digits)
