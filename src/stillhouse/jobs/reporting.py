"""Where a run's metrics go beside its events: Weights & Biases where the job asks, TensorBoard's files where settings do.

Nothing of a run depends on them. A service that cannot be reached is told in the run's events, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from stillhouse.errors import MissingExtraError
from stillhouse.jobs.claim import Claim
from stillhouse.run import Run
from stillhouse.settings import Settings

Tell = Callable[[int, dict[str, float]], None]
"""A step, and its metrics."""


@contextmanager
def reporting(settings: Settings, run: Run, claim: Claim) -> Iterator[Tell]:
    """Open what `run.spec` and the settings ask for; closed at the end of the block. Raises MissingExtraError."""
    listeners: list[Tell] = []
    with ExitStack() as stack:
        if settings.tensorboard:
            listeners.append(stack.enter_context(_tensorboard(settings, run)))
        for integration in run.spec.get("integrations", ()):
            listeners.append(stack.enter_context(_wandb(settings, run, claim, integration["wandb"])))

        def tell(step: int, metrics: dict[str, float]) -> None:
            for listener in listeners:
                listener(step, metrics)

        yield tell


@contextmanager
def _tensorboard(settings: Settings, run: Run) -> Iterator[Tell]:
    """Event files in the run's folder, for `tensorboard --logdir DATA/runs`."""
    if find_spec("tensorboardX") is None:
        raise MissingExtraError("STILLHOUSE_TENSORBOARD", "tensorboardX", "train")
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(settings.runs / run.id / "tensorboard"), write_to_disk=True)

    def tell(step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)

    try:
        yield tell
    finally:
        writer.close()


@contextmanager
def _wandb(settings: Settings, run: Run, claim: Claim, wish: dict[str, Any]) -> Iterator[Tell]:
    """A run of Weights & Biases, under the run's id: one that is resumed goes on in it. Keys and mode are its environment's."""
    if find_spec("wandb") is None:
        raise MissingExtraError("The integration with Weights & Biases", "wandb", "wandb")
    import wandb

    folder, name = settings.runs / run.id, wish.get("name") or run.ref or run.id
    tags = [*(wish.get("tags") or ()), "stillhouse/finetune", *([run.ref] if run.ref else [])]
    try:
        there = wandb.init(
            project=wish["project"], entity=wish.get("entity"), name=name, tags=tags, id=run.id, resume="allow", dir=str(folder),
            config=run.spec.get("recipe", {}),
        )  # fmt: skip
    except Exception as exc:  # its library raises errors of its own: no key, no network, no such entity
        claim.journal.append(f"Weights & Biases cannot be reached, and the run goes on without it: {exc}", level="warn")
        yield lambda step, metrics: None
        return
    claim.journal.append(f"Metrics go to Weights & Biases, project {wish['project']}, run {there.id}")
    try:
        yield lambda step, metrics: there.log(metrics, step=step)
    finally:
        there.finish()
