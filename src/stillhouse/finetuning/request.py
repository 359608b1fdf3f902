"""What a client asks for: the body of `fine_tuning.jobs.create`, Stillhouse's own method `distillation` among them.

Numbers may be `"auto"`; what becomes of that stands in `hyperparameters.py`. A field that nobody knows is an error, so that a
typing mistake is seen.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, model_validator

from stillhouse.records import Record

MAX_SEED = 2**31 - 1


def _count(value: Any) -> int | Literal["auto"]:
    if value is None or value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError('it must be "auto" or a whole number of at least 1')


def _number(value: Any) -> float | Literal["auto"]:
    if value is None or value == "auto":
        return "auto"
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf"):
        return float(value)
    raise ValueError('it must be "auto" or a number above 0')


Count = Annotated[int | Literal["auto"], PlainValidator(_count, json_schema_input_type=int | Literal["auto"] | None)]
Number = Annotated[float | Literal["auto"], PlainValidator(_number, json_schema_input_type=float | Literal["auto"] | None)]


class Hyperparameters(Record):
    """Of every method."""

    batch_size: Count = "auto"
    """Examples an optimizer step."""
    learning_rate_multiplier: Number = "auto"
    """Of the rate that suits the base's size."""
    n_epochs: Count = "auto"


class DpoHyperparameters(Hyperparameters):
    beta: Number = "auto"


class ReinforcementHyperparameters(Hyperparameters):
    compute_multiplier: Number = "auto"
    """Answers drawn for each question: 4 times this."""
    eval_interval: Count = "auto"
    """Kept and shown; there is one round, and its rewards are measured once."""
    eval_samples: Count = "auto"
    """Answers drawn for each question of the validation file."""
    reasoning_effort: Literal["default", "low", "medium", "high"] | None = None


class Supervised(Record):
    hyperparameters: Hyperparameters = Hyperparameters()


class Dpo(Record):
    hyperparameters: DpoHyperparameters = DpoHyperparameters()


class Reinforcement(Record):
    grader: dict[str, Any]
    hyperparameters: ReinforcementHyperparameters = ReinforcementHyperparameters()


class Distillation(Record):
    """Tables of a recipe as JSON; `docs/fine_tuning.md` has examples."""

    teacher: str | dict[str, Any] | None = None
    """A model, or the recipe's `[teacher]` table (members, weights, overridden terms)."""
    signal: Literal["text", "live", "cache", "logprobs"] | None = None
    """What is learned from: the file's answers; the teacher's distributions, now or from a cache; the log-probabilities that its
    answers were captured with. None: as `method` says, else `live` with a teacher on this machine, else `text`."""
    method: dict[str, Any] = {}
    stages: list[dict[str, Any]] = []
    student: dict[str, Any] = {}
    """Changes to what the job's `model` stands for: `kind`, `config`, `adapter`, `init`, `tokenizer`."""
    training: dict[str, Any] = {}
    completions: dict[str, Any] = {}
    """`logprobs`: which stored completions the file's answers are looked for in (`model`, `metadata`, ...). None given: all."""
    hyperparameters: Hyperparameters = Hyperparameters()


class Method(Record):
    """One of four, and its options."""

    type: Literal["supervised", "dpo", "reinforcement", "distillation"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: Reinforcement | None = None
    distillation: Distillation | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> Method:
        names = ("supervised", "dpo", "reinforcement", "distillation")
        other = next((name for name in names if name != self.type and getattr(self, name) is not None), None)
        if other is not None:
            raise ValueError(f"'{other}' holds options, and type is '{self.type}'")
        if self.type == "reinforcement" and self.reinforcement is None:
            raise ValueError("'reinforcement' needs at least a grader")
        return self


class Wandb(Record):
    project: str
    name: str | None = None
    entity: str | None = None
    tags: tuple[str, ...] = ()


class Integration(Record):
    type: Literal["wandb"]
    wandb: Wandb


class JobRequest(Record):
    """The body."""

    model: str = Field(min_length=1)
    training_file: str = Field(min_length=1)
    validation_file: str | None = None
    suffix: str | None = Field(default=None, max_length=64, pattern=r"^[A-Za-z0-9._-]*$")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    metadata: dict[str, str] | None = None
    integrations: tuple[Integration, ...] | None = None
    hyperparameters: Hyperparameters | None = None
    """The old place of `method.supervised.hyperparameters`."""
    method: Method | None = None
    distillation: Distillation | None = None
    """The same as `method.distillation`, for `extra_body`."""

    @model_validator(mode="after")
    def _one_method(self) -> JobRequest:
        given = [name for name in ("hyperparameters", "method", "distillation") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} say how to train, each in its own way: keep one of them")
        return self

    @property
    def way(self) -> Method:
        """The method, wherever it was given; `supervised` where none was."""
        if self.method is not None:
            return self.method
        if self.distillation is not None:
            return Method(type="distillation", distillation=self.distillation)
        return Method(type="supervised", supervised=Supervised(hyperparameters=self.hyperparameters or Hyperparameters()))

    @property
    def given(self) -> Hyperparameters:
        """The method's hyperparameters, `"auto"` where nothing was said."""
        way = self.way
        options = getattr(way, way.type)
        found: Hyperparameters = Hyperparameters() if options is None else options.hyperparameters
        return found
