"""Two networks that teach each other while both learn (Zhang et al. 2018, deep mutual learning).

The peer begins from other random numbers, or is a larger teacher that is fine-tuned along with its student. It learns from the
same batches after the student's step: cross-entropy and the divergence from what the student says by now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stillhouse.errors import TrainingError
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch
from stillhouse.training.objective import Distillation, Window
from stillhouse.training.teachers.live import LiveTeacher


class MutualTeacher(LiveTeacher):
    """A live teacher whose own weights move; `lessons` is what it minimises, with the student as its teacher."""

    def __init__(self, peer: Trainable, lessons: Distillation, *, learning_rate: float) -> None:
        whole = list(peer.network.parameters())
        # Adapters alone, where it has them; all of one that another stage has frozen.
        learning = [each for each in whole if each.requires_grad] or [each for each in whole if each.is_floating_point()]
        super().__init__(peer)
        self._lessons = lessons
        self._parameters = [parameter.requires_grad_() for parameter in learning]
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate, fused=True)
        self._rate = learning_rate

    def after_step(self, batches: Sequence[Batch], progress: float) -> Mapping[str, float]:
        """One step of its own, at a rate that falls linearly to nothing; none where no row counts.

        Raises TrainingError before its weights move, where its gradient is no number.
        """
        window = Window.of(batches)
        if not window.rows:
            return {"train/peer_loss": 0.0}
        self._lessons.follow(progress)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate * (1 - progress)
        self._optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for batch in batches:
            losses = self._lessons.losses(self._teacher, batch, window)
            torch.autograd.backward(losses["loss"])
            total += float(losses["loss"].detach())
        if not torch.nn.utils.clip_grad_norm_(self._parameters, 1.0).isfinite():
            named = ", ".join(example for batch in batches for example in batch.examples)
            raise TrainingError(
                "The peer's gradient is not a finite number. Lower its learning rate, or look at the examples of this step: "
                f"{named}."
            )
        self._optimizer.step()
        return {"train/peer_loss": total}

    def state(self) -> Mapping[str, Tensor]:
        weights = {f"weights.{name}": parameter.detach() for name, parameter in self._teacher.network.named_parameters()}
        moments = self._optimizer.state_dict()["state"]
        return {
            **weights,
            **{f"moments.{index}.{name}": value for index, values in moments.items() for name, value in values.items()},
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in self._teacher.network.named_parameters():
                parameter.copy_(state[f"weights.{name}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("moments."):
                _, index, name = key.split(".", 2)
                moments.setdefault(int(index), {})[name] = value
        self._optimizer.load_state_dict({"state": moments, "param_groups": self._optimizer.state_dict()["param_groups"]})
