"""One training run, whole: what is taught, to whom, from which signal, how. Read from TOML, stored in the artifact."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from stillhouse.errors import RecipeError
from stillhouse.records import Record


class DataSource(Record):
    """Where the examples come from. One of `dataset`, `completions` (a filter) or `train` (a file)."""

    dataset: str | None = None
    """`name` (its newest version) or `name@fingerprint-prefix`."""
    completions: dict[str, Any] | None = None
    """A CompletionQuery: the dataset is built from what the gateway stored."""
    train: str | None = None
    """A file (CSV with `text,category`, chat JSONL, Parquet)."""
    valid: str | None = None
    test: str | None = None
    name: str = "distilled"
    """Name of the dataset version that is made."""
    only_right: str | None = None
    """Keep only rows whose answer this grader passes against the reference (`answer`, `exact`, ...)."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seed: int = 0


class Teacher(Record):
    model: str | None = None
    """A model id the gateway knows, or a local artifact. Needed where the signal is more than text, and by evaluation."""
    allow_training: tuple[str, ...] = ()
    """Upstreams whose terms forbid training, overridden by name."""


class Student(Record):
    kind: str
    """`causal`, `linear`, ..., a name in the registry of students."""
    base: str | None = None
    """Folder of a pretrained model, or `builtin:NAME`. None: from scratch with `config`."""
    config: dict[str, Any] = {}
    """The kind's own options: sizes for a network from scratch, n-gram ranges for `linear`, ..."""
    tokenizer: str | None = None
    """Folder of a tokenizer, when it is not the base's."""


class BlackBox(Record):
    """Cross-entropy on the teacher's text: sequence-level knowledge distillation (Kim & Rush 2016)."""

    kind: Literal["black-box"] = "black-box"
    rationale: bool = True
    """False: train on the final answer alone (a control for chain of thought)."""


class WhiteBox(Record):
    """`weight` T^2 D(teacher || student) at temperature T + (1 - `weight`) cross-entropy (Hinton et al. 2015)."""

    kind: Literal["white-box"] = "white-box"
    loss: str = "forward_kl"
    temperature: float = Field(default=1.0, gt=0)
    weight: float = Field(default=0.5, ge=0, le=1)


Method = Annotated[BlackBox | WhiteBox, Field(discriminator="kind")]


class Training(Record):
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps; or `epochs`."""
    epochs: float | None = Field(default=None, gt=0)
    batch_size: int = Field(default=32, ge=1)
    """Examples a micro-batch."""
    accumulate: int = Field(default=1, ge=1)
    """Micro-batches an optimizer step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps over which the rate rises linearly."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(default=0.01, ge=0)
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float | None = Field(default=1.0, gt=0)
    """Largest gradient norm."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    max_tokens: int = Field(default=1024, ge=2)
    """Longest example, prompt and answer together; a longer one is an error, never cut silently."""
    bucket: bool = True
    """Batches of like length, in random order."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps."""
    keep_checkpoints: int = Field(default=2, ge=2)
    evaluate_every: int = Field(default=100, ge=1)
    """Steps between losses on the valid split."""
    seed: int = 0
    threads: int | None = None


class Evaluation(Record):
    graders: tuple[str, ...] = ("exact", "normalised")
    slices: tuple[str, ...] = ()
    """Metadata keys to report by (besides the label)."""
    limit: int | None = None
    max_tokens: int = 256


class Recipe(Record):
    version: Literal[1] = 1
    name: str = "unnamed"
    data: DataSource = DataSource()
    teacher: Teacher = Teacher()
    student: Student
    method: Method = BlackBox()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()


def load_recipe(path: Path, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML; `changes` are like `training.steps=50` and replace what it says.

    Raises RecipeError that names the file, the field and what is allowed.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"There is no recipe at {path}. The ones that come along are listed in recipes/.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as exc:
        raise RecipeError(f"{path} is not valid TOML: {exc}.") from exc
    for change in changes:
        _apply_change(content, change)
    try:
        return Recipe.model_validate(content)
    except ValidationError as exc:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in exc.errors())
        raise RecipeError(f"{path} cannot be run as written. {problems}.") from exc


def _apply_change(content: dict[str, Any], change: str) -> None:
    """Set one field; the value is TOML where it reads as TOML (`3`, `true`, `["a"]`), and a string where not."""
    key, sign, text = change.partition("=")
    *tables, field = key.strip().split(".")
    if not sign or not field or not all(tables):
        raise RecipeError(f"'{change}' changes nothing. Write it like training.steps=50.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    for table in tables:
        content = content.setdefault(table, {})
        if not isinstance(content, dict):
            raise RecipeError(f"'{change}': {table} is a value, not a table.")
    content[field] = value
