"""One training run, whole: what is taught, to whom, from which signal, how. Read from TOML, stored in the artifact."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from stillhouse.errors import RecipeError
from stillhouse.method import BlackBox, Method
from stillhouse.records import Record, problems_of

_INSTEAD: dict[tuple[str, ...], str] = {("training", "steps"): "epochs", ("training", "epochs"): "steps"}
"""A change to the one takes the other out: a run has one length."""
_METHOD: TypeAdapter[Method] = TypeAdapter(Method)


class Augmentation(Record):
    """More texts than there are, for classifiers: words left out, exchanged, replaced by their neighbours; halves recombined."""

    factor: int = Field(default=10, ge=1)
    """Texts made of each."""
    seed: int = 0
    labels: Literal["teacher", "parent"] = "teacher"
    """Who labels a made text. parent: it has the label of the text that it comes from, which need not be true of it; for methods
    that learn from the teacher's scores alone: the teacher then reads each text once, to give them."""
    options: dict[str, float] = {}
    """Shares and probabilities of the ways, by name (`curation/augmenting.py`)."""


class DataSource(Record):
    """Where the examples come from. One of `dataset`, `completions` (a filter) or `train` (a file).

    With `dataset`, a file for `valid` or `test` takes the place of that split; what the dataset had there is learnt from.
    """

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
    augment: Augmentation | None = None
    """Texts made from the train split and labelled by the teacher; never from or for the other splits."""
    seed: int = 0


class Member(Record):
    """One of several teachers."""

    model: str
    weight: float = Field(default=1.0, gt=0)
    tasks: tuple[str, ...] = ()
    """Where `combine = "task"`: the values of the examples' metadata `task` that it teaches."""


class Teacher(Record):
    model: str | None = None
    """A model id the gateway knows, or a local artifact. Needed where the signal is more than text, and by evaluation."""
    recipe: str | None = None
    """A recipe that trains the teacher on the same data first; its path, beside the recipe that names it. Chains of them are
    teacher assistants (Mirzadeh et al. 2020)."""
    members: tuple[Member, ...] = ()
    """Several local teachers instead of one `model`."""
    combine: Literal["weight", "task", "confidence"] = "weight"
    """How their distributions become one: weighted mean; the one that has the example's task; each weighted by how sure it is."""
    allow_training: tuple[str, ...] = ()
    """Upstreams whose terms forbid training, overridden by name."""


class Initialisation(Record):
    """What a student takes over from its teacher. Sizes stand in `[student.config]`; what is left out stays the teacher's."""

    layers: Literal["uniform", "first", "last"] | tuple[int, ...] = "uniform"
    """Which of the teacher's layers are copied, counted from 0."""
    embeddings: Literal["copy", "pca", "outputs", "folded"] = "copy"
    """copy: the columns that are kept. pca: projected on the principal components. outputs: the principal components of what the
    whole teacher says about each token alone (Model2Vec's), which is more than the table knows. folded: begins as outputs, and
    the projection goes on learning for all tokens at once, those that no text has among them."""
    vocabulary: Literal["all", "task"] | int = "all"
    """task: the tokens of the training texts and the shorter ones that any other text can be spelled with; or the number kept."""


class Adapter(Record):
    """Low-rank adaptation (Hu et al. 2022)."""

    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["linear"] = "linear"
    """Names of the modules that are adapted; linear: every linear layer but the head."""
    bits: Literal[4, 8] | None = None
    """Frozen weights in 4 or 8 bits (QLoRA), where the library for it runs."""


class Student(Record):
    kind: str
    """`causal`, `linear`, ..., a name in the registry of students."""
    base: str | None = None
    """Folder of a pretrained model, or `builtin:NAME` or `package:MODULE`. None: from scratch with `config`."""
    config: dict[str, Any] = {}
    """The kind's own options: sizes for a network from scratch, n-gram ranges for `linear`, ..."""
    tokenizer: str | None = None
    """Folder of a tokenizer, when it is not the base's."""
    init: Initialisation | None = None
    """Start from the teacher's weights, cut to size, instead of from a base or from random ones."""
    adapter: Adapter | None = None
    """Train a few low-rank matrices beside frozen weights (LoRA). None: train everything."""


class Curriculum(Record):
    """Easy examples first: at step t the easiest share c(t) is drawn from (Platanias et al. 2019, square-root competence)."""

    by: str = "length"
    """`length`, or the name of a number in the examples' metadata; smaller is easier."""
    start: float = Field(default=0.2, gt=0, le=1)
    """The share at the first step."""
    until: float = Field(default=0.5, gt=0, le=1)
    """Share of the run after which all examples are drawn from."""


class Stage(Record):
    """A part of the run with changes of its own: first features, then logits, then the task."""

    share: float = Field(gt=0, le=1)
    """Of the steps. The stages' shares make 1."""
    method: dict[str, Any] = {}
    """Fields of [method] that are different in this stage."""
    learning_rate: float | None = Field(default=None, gt=0)
    """At the stage's start; the schedule then runs within the stage. None: one schedule over the whole run."""


class Training(Record):
    model_config = ConfigDict(allow_inf_nan=False)

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
    frozen: tuple[str, ...] = ()
    """Weights that stay as they are: patterns of their names, like `*word_embeddings*`. A pattern that fits none is an error."""
    curriculum: Curriculum | None = None
    pack: bool = False
    """Decoders: lay short examples one after the other in one row instead of padding them; none sees another."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """bfloat16: products in half precision, weights and sums in float32. auto: that, where the processor is made for it."""
    gradient_checkpointing: bool = False
    """Keep fewer activations and compute them again: less memory, about a third more time."""
    average: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running average of the weights, which is what is saved. None: the last weights are."""
    seed: int = 0
    threads: int | None = Field(default=None, ge=1)


class Evaluation(Record):
    graders: tuple[str, ...] = ("exact", "normalised")
    slices: tuple[str, ...] = ()
    """Metadata keys to report by (besides the label)."""
    limit: int | None = Field(default=None, ge=1)
    max_tokens: int = Field(default=256, ge=1)


class Recipe(Record):
    version: Literal[1] = 1
    name: str = "unnamed"
    data: DataSource = DataSource()
    teacher: Teacher = Teacher()
    student: Student
    method: Method = BlackBox()
    stages: tuple[Stage, ...] = ()
    """None: one stage, as [method] says."""
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    def methods(self) -> list[tuple[float, Method]]:
        """What is minimised, with its share of the steps: one entry, or one for each stage."""
        if not self.stages:
            return [(1.0, self.method)]
        whole = self.method.model_dump(mode="json")
        return [(stage.share, _METHOD.validate_python({**whole, **stage.method})) for stage in self.stages]

    @model_validator(mode="after")
    def _stages_make_a_run(self) -> Recipe:
        total = sum(stage.share for stage in self.stages)
        if self.stages and abs(total - 1) > 1e-6:
            raise ValueError(f"the stages' shares must make 1, and they make {total:g}")
        for number, stage in enumerate(self.stages, start=1):
            if stage.method.get("kind", self.method.kind) != self.method.kind:
                raise ValueError(
                    f"[[stages]] number {number} changes kind, which is the whole run's. A stage of the task alone is "
                    'kind = "white-box" with weight = 0'
                )
        self.methods()
        return self


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
    _find_teachers_recipe(content, path)
    try:
        return Recipe.model_validate(content)
    except ValidationError as exc:
        raise RecipeError(f"{path} cannot be run as written. {problems_of(exc)}.") from exc


def changed(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """The recipe with such changes. Raises RecipeError as `load_recipe` does."""
    content = recipe.model_dump(mode="json", exclude_unset=True)
    for change in changes:
        _apply_change(content, change)
    try:
        return Recipe.model_validate(content)
    except ValidationError as exc:
        raise RecipeError(f"The recipe '{recipe.name}' cannot be changed so. {problems_of(exc)}.") from exc


def _find_teachers_recipe(content: dict[str, Any], path: Path) -> None:
    """A teacher's recipe lies beside the recipe that names it."""
    teacher = content.get("teacher")
    if isinstance(teacher, dict) and isinstance(teacher.get("recipe"), str):
        teacher["recipe"] = str((path.parent / teacher["recipe"]).absolute())


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
    content.pop(_INSTEAD.get((*tables, field), ""), None)
