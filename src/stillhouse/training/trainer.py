"""The loop that trains any student that is a network: one function a step, exact resume, nothing hidden.

A step is stopped before the weights move when a loss or a gradient is not finite. What is minimised is `objective.py`'s, what
is in a step `order.py`'s, what a checkpoint is `checkpoint.py`'s.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillhouse.answers import final_answer
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, TrainingError
from stillhouse.formats.examples import read_examples, read_manifest
from stillhouse.method import BlackBox
from stillhouse.recipe import Training
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Batch, Encoded
from stillhouse.training import checkpoint as checkpoints
from stillhouse.training.assembling import objective_of
from stillhouse.training.base import Job, Progress
from stillhouse.training.lineage import check_terms, finished, run_identity, write_student
from stillhouse.training.needs import check_needs
from stillhouse.training.objective import Objective, Window
from stillhouse.training.order import Order
from stillhouse.training.schedule import rate_factor
from stillhouse.training.state import pack, unpack


def train_causal(job: Job) -> Path | None:
    """Train, or go on training, the causal student of `job`. Returns its folder, or None when asked to stop."""
    dataset = read_manifest(job.dataset_folder)
    check_terms(job, dataset)
    if finished(job):
        return job.student_folder
    check_needs(job)
    training = job.recipe.training
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    student = CausalStudent.build(job.recipe.student, job.base_folder, dropout=training.dropout, seed=training.seed)
    rows = {split: _encode(job, student, read_examples(job.dataset_folder, split)) for split in ("train", "valid")}
    objective = objective_of(job, student, [*rows["train"], *rows["valid"]])
    with torch.random.fork_rng():
        trainer = Trainer(job, student, objective, rows["train"], rows["valid"], run_identity(job, dataset))
        metrics = trainer.run()
    return None if metrics is None else write_student(job, student, dataset, metrics)


def _encode(job: Job, student: Trainable, examples: Sequence[Example]) -> list[Encoded]:
    method = job.recipe.method
    if isinstance(method, BlackBox) and not method.rationale:
        examples = [example.model_copy(update={"answer": final_answer(example.answer)}) for example in examples]
    return student.encode(examples, max_tokens=job.recipe.training.max_tokens)


class Trainer:
    """The state of one run: network, optimizer, random numbers and the number of steps done, which is all there is."""

    def __init__(
        self,
        job: Job,
        student: Trainable,
        objective: Objective,
        train: Sequence[Encoded],
        valid: Sequence[Encoded],
        identity: str,
    ) -> None:
        if not train:
            raise RecipeError(f"The dataset in {job.dataset_folder} has no train examples.")
        self._job = job
        self._options = options = job.recipe.training
        self._student = student
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = student.network.to(self._device)
        self._objective = objective.to(self._device)
        self._train, self._valid = train, sorted(valid, key=lambda row: row.length)
        self._identity = identity
        self._order = Order(
            [row.length for row in train],
            batch_size=options.batch_size,
            accumulate=options.accumulate,
            seed=options.seed,
            bucket=options.bucket,
        )
        self.steps = _steps(options, self._order.steps_per_epoch)
        self.step = 0
        self._optimizer = _optimizer(self._network, options)
        self._metrics: dict[str, float] = {}
        torch.manual_seed(options.seed)

    def run(self) -> dict[str, float] | None:
        """Steps until the last one; its metrics, or None when asked to stop (a checkpoint is saved then)."""
        self._resume()
        self._network.train()
        while self.step < self.steps:
            if self._job.should_stop():
                self._save()
                self._report({}, f"stopped at step {self.step}; resume goes on from here")
                return None
            metrics = self._one_step()
            if self._due(self._options.evaluate_every):
                metrics |= self._evaluate()
            self._metrics |= metrics
            self._report(metrics)
            if self._due(self._options.checkpoint_every):
                self._save()
        return self._metrics

    def _one_step(self) -> dict[str, float]:
        started = time.perf_counter()
        batches = self._batches([[self._train[i] for i in part] for part in self._order.micro_batches(self.step)])
        window = _window(batches)
        rate = self._options.learning_rate * rate_factor(
            self.step, self.steps, warmup=self._options.warmup, schedule=self._options.schedule
        )
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        parts = []
        for batch in batches:
            losses = self._objective.losses(self._student, batch, window)
            torch.autograd.backward(losses["loss"])
            parts.append({name: value.detach() for name, value in losses.items()})
        norm = torch.nn.utils.clip_grad_norm_(self._network.parameters(), self._options.clip or math.inf)
        metrics = self._finite(batches, parts, norm)
        self._optimizer.step()
        self.step += 1
        tokens = sum(batch.real_tokens for batch in batches)
        return {**metrics, "train/learning_rate": rate, "perf/tokens_per_second": tokens / (time.perf_counter() - started)}

    def _finite(self, batches: Sequence[Batch], parts: Sequence[dict[str, Tensor]], norm: Tensor) -> dict[str, float]:
        """The step's metrics. Raises TrainingError, before the weights move, where one of them is NaN or infinite."""
        names = list(parts[0])
        numbers = torch.stack([*(part[name] for part in parts for name in names), norm]).tolist()  # the step's one wait
        *sums, grad_norm = numbers
        by_batch = [dict(zip(names, sums[start : start + len(names)], strict=True)) for start in range(0, len(sums), len(names))]
        if not all(map(math.isfinite, numbers)):
            bad = [batch for batch, values in zip(batches, by_batch, strict=True) if not all(map(math.isfinite, values.values()))]
            raise self._not_finite(bad or batches, "loss" if bad else "gradient")
        means = {f"train/{name}": sum(values[name] for values in by_batch) for name in names}
        return {**means, "train/grad_norm": grad_norm}

    def _not_finite(self, batches: Sequence[Batch], what: str) -> TrainingError:
        self._optimizer.zero_grad(set_to_none=True)
        examples = ", ".join(example for batch in batches for example in batch.examples)
        last = checkpoints.newest_step(self._job.checkpoints_folder)
        return TrainingError(
            f"The {what} of step {self.step + 1} is not a finite number; the weights were left as they were. "
            f"Last checkpoint: {'none' if last is None else f'step {last}'}. Lower training.learning_rate, or look at the "
            f"examples of this batch: {examples}."
        )

    def _evaluate(self) -> dict[str, float]:
        """The objective on the valid split, normalised as in training. Nothing where the split is empty."""
        if not self._valid:
            return {}
        size = self._options.batch_size
        total, weight = 0.0, 0.0
        self._network.eval()
        with torch.no_grad():
            for start in range(0, len(self._valid), size):
                [batch] = self._batches([self._valid[start : start + size]])
                window = Window.of([batch])
                total += self._objective.losses(self._student, batch, window)["loss"].item() * window.rows
                weight += window.rows
        self._network.train()
        return {"eval/loss": total / weight} if weight else {}

    def _batches(self, parts: Sequence[Sequence[Encoded]]) -> list[Batch]:
        return [self._student.collate(part).to(self._device) for part in parts]

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.steps

    def _save(self) -> None:
        checkpoint = checkpoints.Checkpoint(
            self.step,
            {"run": self._identity, "steps": self.steps, "metrics": self._metrics},
            pack(self._network, self._optimizer),
        )
        checkpoints.save(self._job.checkpoints_folder, checkpoint, keep=self._options.keep_checkpoints)

    def _resume(self) -> None:
        """Go back to the newest checkpoint, if there is one. Raises RecipeError where it is another run's."""
        checkpoint = checkpoints.load_newest(self._job.checkpoints_folder)
        if checkpoint is None:
            return
        if checkpoint.scalars["run"] != self._identity:
            raise RecipeError(
                f"{self._job.checkpoints_folder} holds checkpoints of another recipe or dataset. "
                "Resume with what the run was started with, or start a new run in a folder of its own."
            )
        unpack(checkpoint.tensors, self._network, self._optimizer)
        self.step, self._metrics = checkpoint.step, dict(checkpoint.scalars["metrics"])
        self._report({}, f"resumed from the checkpoint of step {self.step}")

    def _report(self, metrics: dict[str, float], message: str = "") -> None:
        self._job.report(Progress(step=self.step, steps=self.steps, metrics=metrics, message=message))


def _steps(options: Training, steps_per_epoch: int) -> int:
    if options.steps is not None and options.epochs is None:
        return options.steps
    if options.epochs is not None and options.steps is None:
        return math.ceil(options.epochs * steps_per_epoch)
    raise RecipeError("Say how long to train, in one way: [training] steps = 1000, or epochs = 3.")


def _optimizer(network: Any, options: Training) -> torch.optim.Optimizer:
    """AdamW; biases and norms (one dimension) are not decayed."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)


def _window(batches: Sequence[Batch]) -> Window:
    """The window of these micro-batches. Raises TrainingError where none of its examples counts."""
    window = Window.of(batches)
    if window.rows <= 0:
        examples = ", ".join(example for batch in batches for example in batch.examples)
        raise TrainingError(f"No example of this step has a weight above 0: {examples}. Remove them from the dataset.")
    return window
