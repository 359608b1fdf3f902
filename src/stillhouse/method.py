"""How a student is taught, as a recipe's `[method]` table: what is minimised, and where the teacher's signal comes from.

Three kinds: from text alone, from the teacher's distributions and states, from pairs of a better and a worse answer. Their parts
are independent of each other (loss, temperature, features, source, rollouts), so every combination that makes sense can be named;
which of them a teacher can give is checked before any compute (`training/needs.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record

LayerMap = Literal["uniform", "last"] | tuple[tuple[int, int], ...]
"""Which layers are compared. uniform: the student's m-th of M with the teacher's m*N/M-th of N; last: the last with the last;
or pairs (student's layer, teacher's layer), counted from 1, 0 being the embeddings."""


class StepByStep(Record):
    """Two tasks of one student: the answer alone, and the rationale alone, told apart by a prefix (Hsieh et al. 2023).

    loss = (label + `weight` * rationale) / (1 + `weight`), each the mean over an example's tokens (the paper's equations 3 and 4;
    its code's alpha is 1 / (1 + `weight`)). Asked, the student answers at once: the label's prefix becomes part of it.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    weight: float = Field(default=1.0, ge=0)
    """The paper's lambda."""
    label_prefix: str = "[label] "
    rationale_prefix: str = "[rationale] "


class BlackBox(Record):
    """Cross-entropy on the teacher's text: sequence-level knowledge distillation (Kim & Rush 2016)."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["black-box"] = "black-box"
    rationale: bool = True
    """False: train on the final answer alone (a control for chain of thought)."""
    rationale_weight: float = Field(default=1.0, ge=0)
    """Of each token of the reasoning, before the sentence or the marker that states the answer."""
    answer_weight: float = Field(default=1.0, ge=0)
    """Of each token from there on, the end token included."""
    step_by_step: StepByStep | None = None

    @property
    def weighed(self) -> bool:
        """Whether the parts of an answer count differently."""
        return (self.rationale_weight, self.answer_weight) != (1.0, 1.0)

    @model_validator(mode="after")
    def _parts_can_be_weighed(self) -> BlackBox:
        if not self.rationale_weight and not self.answer_weight:
            raise ValueError("rationale_weight and answer_weight are both 0, so nothing would be learnt")
        if self.weighed and not self.rationale:
            raise ValueError("rationale = false leaves the answer alone, and nothing to weigh: leave the weights out")
        if self.step_by_step is not None and (self.weighed or not self.rationale):
            raise ValueError("step_by_step has a weight of its own and needs the rationale: leave the other options out")
        return self


class Feature(Record):
    """One comparison of inner states, added to the loss: `weight` * mean over real tokens (or over the batch's pairs).

    Those that compare texts with each other (`rkd_distance`, `rkd_angle`, `pkt`, `similarity_preserving`) see a micro-batch: its
    size, and so several processes or a cut where memory ran out, is part of what they minimise. All others do not depend on it.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    loss: str
    """A name in the registry of features: `hidden_states`, `attention`, `relations`, `rkd_distance`, ..."""
    weight: float = Field(default=1.0, ge=0)
    layers: LayerMap = "uniform"
    options: dict[str, Any] = {}
    """The loss's own: `metric = "cosine"`, `heads = 12`, ..."""


class Cache(Record):
    """What the teacher says, kept on disk and read instead of running it again."""

    tier: Literal["hidden", "top_k", "sampled", "logits"] = "hidden"
    """hidden: last states in float16 and the head (exact but for rounding; any loss, any temperature). top_k: the k likeliest
    tokens and the rest as one bucket, at one temperature. sampled: tokens drawn from the distribution (RS-KD), at temperature 1.
    logits: all scores in float16, for classifiers."""
    k: int = Field(default=64, ge=1)
    samples: int = Field(default=50, ge=1)
    states: bool = False
    """Keep the layers that the method's features compare, too."""


class Rollouts(Record):
    """Learn from answers that the student itself gives, scored by the teacher (Agarwal et al. 2024, GKD)."""

    model_config = ConfigDict(allow_inf_nan=False)

    share: float = Field(default=0.5, ge=0, le=1)
    """Of the steps; the others learn from the dataset."""
    estimator: Literal["distribution", "policy-gradient"] = "distribution"
    """distribution: the method's loss at every token of the answer. policy-gradient: MiniLLM's (Gu et al. 2024)."""
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=128, ge=1)
    every: int = Field(default=1, ge=1)
    """Steps whose answers are generated together, in one batch, before the first of them."""
    mix: float = Field(default=0.0, ge=0, lt=1)
    """policy-gradient: the teacher's share in the distribution that is sampled from (its alpha)."""


class WhiteBox(Record):
    """`weight` * scale * D(teacher, student at T) + (1 - `weight`) * cross-entropy + features (Hinton et al. 2015)."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["white-box"] = "white-box"
    loss: str = "forward_kl"
    """A name in the registry of losses, or `none`: features, and 1 - `weight` of cross-entropy (`weight = 1`: features alone)."""
    options: dict[str, Any] = {}
    """The loss's own: `beta`, `alpha`, ..."""
    weight: float = Field(default=0.5, ge=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
    temperature_end: float | None = Field(default=None, gt=0)
    """Annealed linearly from `temperature` to this over the run, or over each stage of it."""
    temperature_by: Literal["run", "token"] = "run"
    """token: each position has its own, by how unsure the teacher is there (`training/temperature.py`)."""
    scale: Literal["t2", "none"] = "t2"
    """t2: times T^2, so that `weight` means the same at every temperature."""
    features: tuple[Feature, ...] = ()
    source: Literal["live", "cache", "api", "ema", "mutual"] = "live"
    """live: the teacher runs beside the student. cache: once, before. api: the log-probabilities that came with its answers.
    ema: the student's own running average. mutual: a second student that learns at the same time."""
    cache: Cache = Cache()
    ema_decay: float = Field(default=0.999, gt=0, lt=1)
    peer_learning_rate: float | None = Field(default=None, gt=0)
    """mutual: the peer's. None: the student's; a pretrained peer wants a smaller one."""
    rollouts: Rollouts | None = None
    """None: every step learns from the dataset."""
    align: Literal["same", "bytes"] = "same"
    """bytes: teacher and student have different tokenizers, and their distributions are compared where their texts' byte offsets
    meet: by rank (loss = "ranked", ULD) or over the tokens that both have ("top_k"). Never done unless asked for."""


class Preference(Record):
    """Pairs of a better and a worse answer: `answer` and the example's `rejected`."""

    model_config = ConfigDict(allow_inf_nan=False)

    kind: Literal["preference"] = "preference"
    loss: Literal["dpo", "contrastive"] = "dpo"
    """dpo: Rafailov et al. 2023. contrastive: DistiLLM-2's, skew KL on the better, skew reverse KL on the worse."""
    beta: float = Field(default=0.1, gt=0)
    """dpo: how strongly the student is held to what it was at the start."""
    alpha: float = Field(default=0.1, gt=0, lt=1)
    """contrastive: the skew."""


Method = Annotated[BlackBox | WhiteBox | Preference, Field(discriminator="kind")]
