"""The loop that trains any student that is a network, in one process or several: exact resume, nothing hidden.

What a step is stands in `stepping.py`, what is minimised in `objective.py`, what is in a step in `order.py` and `feeds.py`, what
a checkpoint holds in `state.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from stillhouse.artifacts import MANIFEST
from stillhouse.dataset import Dataset
from stillhouse.errors import RecipeError, TrainingError
from stillhouse.formats.examples import read_manifest
from stillhouse.method import WhiteBox
from stillhouse.recipe import Training
from stillhouse.students.base import Trainable
from stillhouse.tensors import Encoded
from stillhouse.training import checkpoint as checkpoints
from stillhouse.training.averaging import RunningAverage
from stillhouse.training.base import Job, Progress, StopRequestedError
from stillhouse.training.beginning import begin
from stillhouse.training.distributed import Ranks, together
from stillhouse.training.feeds import Feed
from stillhouse.training.lineage import check_terms, finished, run_identity, write_student
from stillhouse.training.needs import check_needs, teacher_folders
from stillhouse.training.objective import ACCURACY, Objective, Window
from stillhouse.training.packing import check_packable, packer_of
from stillhouse.training.precision import attention_written_out, autocast_of, keep_fewer_activations
from stillhouse.training.schedule import rate_of, steps_of
from stillhouse.training.state import RunState, seed_from
from stillhouse.training.stepping import NotFiniteError, Stepper, cut


def train_network(job: Job) -> Path | None:
    """Train, or go on training, the student of `job`, whatever its kind. Returns its folder, or None when asked to stop.

    Under torchrun every process calls this with the same job; the first one reports and writes, and all need to see its folder.
    """
    dataset = read_manifest(job.dataset_folder)
    check_terms(job, dataset)
    check_needs(job.recipe, local=bool(teacher_folders(job)))
    threads = job.recipe.training.threads
    if threads is not None:
        torch.set_num_threads(threads)
    with together() as ranks, torch.random.fork_rng():
        if not ranks.any(finished(job)):
            return _train(job, dataset, ranks)
    return job.student_folder


def _train(job: Job, dataset: Dataset, ranks: Ranks) -> Path | None:
    if not ranks.first:
        job = replace(job, report=lambda _: None)
    _check_fits(job, ranks)
    begun = None
    # the first one fills the teacher's cache, where there is one, and the others read it
    with ranks.in_turn(), suppress(StopRequestedError):
        begun = begin(job)
    if ranks.any(begun is None) or begun is None:
        return None
    with attention_written_out(begun.student.network, job.recipe.training.precision, ranks.device):
        keep = partial(_keep_epoch, job, begun.student, dataset)
        metrics = Trainer(job, *begun, run_identity(job, dataset), ranks, keep=keep).run()
    if metrics is None:
        return None
    if ranks.first:
        write_student(job, begun.student, dataset, metrics)
    ranks.wait()
    return job.student_folder


def _keep_epoch(job: Job, student: Trainable, dataset: Dataset, step: int, metrics: dict[str, float]) -> None:
    """The student as it is at an epoch's end, as a model folder of its own; one that is there stays."""
    folder = job.epoch_folder(step)
    if not (folder / MANIFEST).exists():
        write_student(job, student, dataset, metrics, folder)


def _check_fits(job: Job, ranks: Ranks) -> None:
    steps_of(job.recipe.training, 1)  # said in one way: before a teacher is asked for hours
    if job.recipe.training.pack:
        check_packable(job.recipe)
    mutual = any(isinstance(method, WhiteBox) and method.source == "mutual" for _, method in job.recipe.methods())
    if mutual and ranks.world > 1:
        raise RecipeError('A peer (source = "mutual") learns in one process only: start the run without torchrun.')


class Trainer:
    """The state of one run and the loop over it."""

    def __init__(
        self,
        job: Job,
        student: Trainable,
        objective: Objective,
        feed: Feed,
        valid: Sequence[Encoded],
        identity: str,
        ranks: Ranks | None = None,
        *,
        keep: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
    ) -> None:
        """`keep`: told a step and its metrics at the end of each of the last `job.keep_epochs` epochs, not at the end."""
        self._job = job
        self._options = options = job.recipe.training
        self._student = student
        self._ranks = ranks = ranks or Ranks()
        self._network = student.network.to(ranks.device)
        self._objective = objective.to(ranks.device)
        self._feed = feed
        self._valid = sorted(valid, key=lambda row: row.length)
        self._identity = identity
        self._keep = keep
        self.steps = steps_of(options, feed.steps_per_epoch)
        self.step = 0
        self._rate = rate_of(job.recipe, self.steps)
        weights = [parameter for parameter in self._network.parameters() if parameter.requires_grad]
        self._average = None if options.average is None else RunningAverage(weights, options.average)
        self._optimizer = _optimizer([*weights, *objective.parameters()], options)
        self._state = RunState(self._network, objective, self._optimizer, feed, self._average)
        self._stepper = Stepper(
            student,
            objective,
            self._optimizer,
            self._state.trained,
            ranks,
            collate=packer_of(student) if options.pack else student.collate,
            autocast=autocast_of(options.precision, ranks.device),
            clip=options.clip,
            say=partial(self._report, {}),
        )
        self._metrics: dict[str, float] = {}
        if options.gradient_checkpointing:
            keep_fewer_activations(self._network)

    def run(self) -> dict[str, float] | None:
        """Steps until the last one; its metrics, or None when asked to stop (a checkpoint is saved then)."""
        self._resume()
        self._network.train()
        while self.step < self.steps:
            if self._ranks.any(self._job.should_stop()):
                self._save()
                self._report({}, f"stopped at step {self.step}; resume goes on from here")
                return None
            metrics = self._one_step()
            if self._due(self._options.evaluate_every) or self._epoch_ends():
                metrics |= self._evaluate()
            self._metrics |= metrics
            if self._epoch_ends() and self._ranks.first:  # before it is said, so that who hears of it finds it
                with nullcontext() if self._average is None else self._average.in_place():
                    self._keep(self.step, dict(self._metrics))
            self._report(metrics)
            if self._due(self._options.checkpoint_every):
                self._save()
        if self._average is not None:
            self._average.put()
        return self._metrics

    def _one_step(self) -> dict[str, float]:
        started = time.perf_counter()
        self._seed(0)  # the same in every process: all of them are fed the same window
        parts = self._feed.window(self.step)
        self._objective.begin(self.step, self.steps)
        rate = self._rate(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        try:
            batches, metrics, tokens = self._stepper.take(parts, partial(self._seed, 1 + self._ranks.rank))
        except NotFiniteError as error:
            raise self._explained(error) from None
        self.step += 1
        if self._average is not None:
            self._average.update(self.step)
        metrics |= self._objective.after_step(batches, metrics)
        return {
            **metrics,
            "train/learning_rate": rate,
            "train/tokens": self._metrics.get("train/tokens", 0.0) + tokens,
            "perf/tokens_per_second": tokens / (time.perf_counter() - started),
        }

    def _seed(self, stream: int) -> None:
        seed_from(self._options.seed, self.step, stream)

    def _explained(self, error: NotFiniteError) -> TrainingError:
        last = checkpoints.newest_step(self._job.checkpoints_folder)
        return TrainingError(
            f"The {error.what} of step {self.step + 1} is not a finite number; the weights were left as they were. "
            f"Last checkpoint: {'none' if last is None else f'step {last}'}. Lower training.learning_rate, or look at the "
            f"examples of this batch: {', '.join(error.examples)}."
        )

    @torch.no_grad()
    def _evaluate(self) -> dict[str, float]:
        """The objective on the valid split as one window, however it is cut. Nothing where no row of it counts."""
        size, ranks = self._options.batch_size, self._ranks
        parts = [self._valid[start : start + size] for start in range(0, len(self._valid), size)]
        batches = [self._student.collate(rows) for rows in cut(parts[ranks.rank :: ranks.world], self._stepper.limit)]
        mine = Window.of(batches)
        window = Window(*ranks.sum([mine.rows, mine.examples]))
        if not window.rows:
            return {}
        names = ("loss", ACCURACY)
        totals = {name: torch.zeros((), device=ranks.device) for name in names}
        known = set(names)
        self._seed(1 + ranks.rank)
        self._network.eval()
        with nullcontext() if self._average is None else self._average.in_place():
            for batch in batches:
                with self._stepper.autocast():
                    losses = self._objective.losses(self._student, batch.to(ranks.device), window)
                known &= losses.keys()
                for name in known:
                    totals[name] += losses[name]
        self._network.train()
        sums = dict(zip(names, ranks.sum([float(totals[name]) for name in names]), strict=True))
        return {f"eval/{name}": value for name, value in sums.items() if name in known}

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.steps

    def _epoch_ends(self) -> bool:
        """Whether the last step ended one of the last epochs, whose students are kept; the run's own end is not among them."""
        epoch, kept = self._feed.steps_per_epoch, self._job.keep_epochs
        return self.step % epoch == 0 and self.steps - kept * epoch < self.step < self.steps

    def _save(self) -> None:
        if not self._ranks.first:
            return
        scalars = {"run": self._identity, "steps": self.steps, "metrics": self._metrics, "limit": self._stepper.limit}
        checkpoint = checkpoints.Checkpoint(self.step, scalars, self._state.pack())
        checkpoints.save(self._job.checkpoints_folder, checkpoint, keep=self._options.keep_checkpoints)

    def _resume(self) -> None:
        """Go back to the newest checkpoint, if there is one. Raises RecipeError where it is another run's."""
        checkpoint = checkpoints.load_newest(self._job.checkpoints_folder)
        self._check_all_have(-1 if checkpoint is None else checkpoint.step)
        if checkpoint is None:
            return
        if checkpoint.scalars["run"] != self._identity:
            raise RecipeError(
                f"{self._job.checkpoints_folder} holds checkpoints of another recipe or dataset. "
                "Resume with what the run was started with, or start a new run in a folder of its own."
            )
        self._state.unpack(checkpoint.tensors)
        self.step, self._metrics = checkpoint.step, dict(checkpoint.scalars["metrics"])
        self._stepper.limit = checkpoint.scalars["limit"]
        self._report({}, f"resumed from the checkpoint of step {self.step}")

    def _check_all_have(self, step: int) -> None:
        if self._ranks.any(self._ranks.sum([float(step)])[0] != step * self._ranks.world):
            raise TrainingError(
                f"The processes of this run see different checkpoints in {self._job.checkpoints_folder}: they need one folder."
            )

    def _report(self, metrics: dict[str, float], message: str = "") -> None:
        self._job.report(Progress(step=self.step, steps=self.steps, metrics=metrics, message=message))


def _optimizer(parameters: Sequence[Any], options: Training) -> torch.optim.Optimizer:
    """AdamW; biases and norms (one dimension) are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, fused=True)
