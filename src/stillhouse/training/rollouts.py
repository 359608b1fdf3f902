"""Windows of the student's own answers: a share of the steps learns from what the student says now, scored by the teacher.

On-policy distillation (Agarwal et al. 2024, GKD): the student is taught where it will go by itself, not only where the teacher
went. Only the texts are made here; what is minimised on them is the objective's. Prompts, weights and the cut into micro-batches
are the window's of the feed beneath, so a rollout step stands where a step on the dataset would have stood.

Random numbers are keyed by (seed, step, row of the window), so a run that was interrupted says the same. Answers that were made
for steps still to come are part of the checkpoint, because the weights they were made with are gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from stillhouse.errors import RecipeError
from stillhouse.method import Rollouts
from stillhouse.students.causal import CausalStudent
from stillhouse.students.sampler import Drawn, Sampling, draw
from stillhouse.tensors import Encoded
from stillhouse.training.feeds import Feed
from stillhouse.training.objective import BEHAVIOUR

_WHETHER, _ANSWERS = 1, 2
"""Streams of random numbers of one step: whether it is a rollout, what is said."""


class RolloutFeed:
    """A feed that answers some of its windows anew. A window is made with the weights the student has when it is asked for, so
    windows are asked for in order, each after the step before it has moved the weights.
    """

    def __init__(
        self,
        feed: Feed,
        student: CausalStudent,
        rollouts: Rollouts,
        *,
        seed: int,
        max_tokens: int,
        teacher: CausalStudent | None = None,
    ) -> None:
        """`max_tokens`: longest prompt and answer together. `teacher`: needed where `rollouts.mix` is above 0.

        Raises RecipeError for rollouts that cannot be taught as they are drawn.
        """
        _check(rollouts, teacher)
        self._feed = feed
        self._student = student
        self._rollouts = rollouts
        self._seed = seed
        positions = student.max_positions
        self._longest = max_tokens if positions is None else min(max_tokens, positions)
        self._teacher = teacher
        self._answers: dict[int, list[Drawn]] = {}
        """Step -> the answers of its window, for the steps that were generated together last."""

    @property
    def steps_per_epoch(self) -> int:
        return self._feed.steps_per_epoch

    def is_rollout(self, step: int) -> bool:
        """Whether step `step` learns from the student's own answers."""
        return float(_random(self._seed, step, _WHETHER).random()) < self._rollouts.share

    def window(self, step: int) -> list[list[Encoded]]:
        parts = self._feed.window(step)
        if not self.is_rollout(step):
            return parts
        if step not in self._answers:
            self._answers = self._generate(self._together(step))
        answers = iter(self._answers[step])
        return [[_answered(row, next(answers)) for row in part] for part in parts]

    def state(self) -> Mapping[str, Tensor]:
        """The answers generated last. Prompts are the feed's, and computed again."""
        if not self._answers:
            return {}
        drawn = [answer for answers in self._answers.values() for answer in answers]
        return {
            "steps": torch.tensor(list(self._answers)),
            "rows": torch.tensor([len(answers) for answers in self._answers.values()]),
            "lengths": torch.tensor([len(answer.tokens) for answer in drawn]),
            "tokens": torch.tensor([token for answer in drawn for token in answer.tokens], dtype=torch.int64),
            "log_probs": torch.tensor([value for answer in drawn for value in answer.log_probs], dtype=torch.float32),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        if not state:
            self._answers = {}
            return
        ends = np.cumsum(state["lengths"].numpy())[:-1]
        tokens, log_probs = (np.split(state[name].numpy(), ends) for name in ("tokens", "log_probs"))
        drawn = iter([Drawn(tuple(t.tolist()), tuple(p.tolist())) for t, p in zip(tokens, log_probs, strict=True)])
        sizes = zip(state["steps"].tolist(), state["rows"].tolist(), strict=True)
        self._answers = {step: [next(drawn) for _ in range(rows)] for step, rows in sizes}

    def _together(self, step: int) -> list[int]:
        """The rollout steps that are generated with `step`: those of its block that are still to come."""
        every = self._rollouts.every
        return [other for other in range(step, (step // every + 1) * every) if self.is_rollout(other)]

    def _generate(self, steps: Sequence[int]) -> dict[int, list[Drawn]]:
        windows = {step: [row for part in self._feed.window(step) for row in part] for step in steps}
        rows = [row for window in windows.values() for row in window]
        numbers = [
            _random(self._seed, step, _ANSWERS, at).random(self._rollouts.max_tokens)
            for step, window in windows.items()
            for at in range(len(window))
        ]
        if self._teacher is not None:  # where the student has been moved to by now
            self._teacher.network.to(self._student.network.device)
        drawn = iter(
            draw(
                self._student,
                [row.tokens[: row.answer_start] for row in rows],
                torch.from_numpy(np.stack(numbers)),
                [max(0, min(self._rollouts.max_tokens, self._longest - row.answer_start)) for row in rows],
                Sampling(self._rollouts.temperature, self._rollouts.top_p, self._rollouts.mix),
                other=self._teacher,
            )
        )
        return {step: [next(drawn) for _ in window] for step, window in windows.items()}


def _answered(row: Encoded, answer: Drawn) -> Encoded:
    """The same prompt with another answer. One that was cut off has no end token, so none is taught."""
    tokens = (*row.tokens[: row.answer_start], *answer.tokens)
    return replace(row, tokens=tokens, extra={BEHAVIOUR: answer.log_probs})


def _random(seed: int, step: int, stream: int, row: int = 0) -> np.random.Generator:
    """Independent numbers for each (seed, step, stream, row)."""
    key = np.array([seed % 2**64, step], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, row, stream], dtype=np.uint64)))


def _check(rollouts: Rollouts, teacher: CausalStudent | None) -> None:
    if rollouts.mix > 0 and teacher is None:
        raise RecipeError(
            f"[method.rollouts] mix = {rollouts.mix} draws from the teacher too, and there is none whose weights are here. Set "
            "[teacher] model to a local one, or mix = 0."
        )
    if rollouts.estimator == "policy-gradient" and rollouts.top_p < 1:
        raise RecipeError(
            f"The policy gradient weighs each token by how likely it was drawn, so every token must be possible: set "
            f"[method.rollouts] top_p = 1 (it is {rollouts.top_p})."
        )
