"""Who teaches: from a recipe's words to a `Teaching`, its rows lined up with the student's, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from stillhouse.errors import RecipeError
from stillhouse.formats.examples import read_examples, read_manifest
from stillhouse.losses.forward_kl import ForwardKL
from stillhouse.method import WhiteBox
from stillhouse.students import STUDENTS
from stillhouse.students.base import Trainable
from stillhouse.students.causal import CausalStudent
from stillhouse.students.labels import label_order
from stillhouse.students.states import shape_of
from stillhouse.tensors import Encoded
from stillhouse.training.base import Job, Progress, StopRequestedError
from stillhouse.training.caching import ensure_cache, entry_of, key_of, teacher_hash
from stillhouse.training.combinations import ALIGNED_BY
from stillhouse.training.features import FeatureTerms
from stillhouse.training.inner_states import names_of
from stillhouse.training.logprobs import api_teacher
from stillhouse.training.needs import LOCAL, kind_of, teacher_folders
from stillhouse.training.objective import Distillation
from stillhouse.training.packing import packer_of
from stillhouse.training.teachers.aligned import AlignedTeacher
from stillhouse.training.teachers.average import AverageTeacher
from stillhouse.training.teachers.base import Teaching
from stillhouse.training.teachers.cached import CachedTeacher
from stillhouse.training.teachers.live import LiveTeacher
from stillhouse.training.teachers.mutual import MutualTeacher
from stillhouse.training.teachers.several import SeveralTeachers


class Teachers:
    """The teacher's side of every stage. Stages that take the same signal from the same place share it, and its weights."""

    def __init__(self, job: Job, student: Trainable, rows: Sequence[Encoded]) -> None:
        """`rows`: all examples of the run, as the student reads them."""
        self._job = job
        self._student = student
        self._rows = rows
        self._members = [Local(job, student, folder) for folder in teacher_folders(job)]
        self._teachings: dict[str, Teaching] = {}
        self._features: dict[str, FeatureTerms] = {}

    def of(self, method: WhiteBox) -> tuple[Teaching, FeatureTerms | None]:
        """A method's teacher, and the comparisons of inner states, sized for both networks.

        Raises RecipeError where the two cannot be compared, StopRequestedError where the run was asked to stop while a cache was
        built.
        """
        features = self._features_of(method) if method.features else None
        place = [method.source, method.align, method.loss if method.align == "bytes" else ""]
        if method.source == "cache":  # what it has to hold
            kept = method.features if method.cache.states else ()
            place += [method.cache.model_dump_json(), str(method.temperature), str([feature.json_bytes() for feature in kept])]
        if method.source == "ema":
            place.append(str(method.ema_decay))
        if method.source == "mutual":  # the peer learns by the method too
            place.append(method.model_dump_json())
        key = "|".join(place)
        if key not in self._teachings:
            self._teachings[key] = self._teaching_of(method, features)
        return self._teachings[key], features

    def _teaching_of(self, method: WhiteBox, features: FeatureTerms | None) -> Teaching:
        job, student = self._job, self._student
        if method.align == "bytes":
            return _aligned(job, student, method)
        if method.source == "api":
            folder = job.signals_folder or job.work / "signals"
            return api_teacher(folder, read_manifest(job.dataset_folder).fingerprint, student.tokenizer_hash(), self._rows)
        if method.source == "ema":
            return AverageTeacher(student, decay=method.ema_decay)
        if method.source == "mutual":
            return _mutual(job, student, method, self._members)
        teachings = [
            member.live() if method.source == "live" else member.cached(method, features, self._rows) for member in self._members
        ]
        if len(teachings) == 1:
            return teachings[0]
        return SeveralTeachers(job.recipe.teacher.members, teachings, job.recipe.teacher.combine)

    def _features_of(self, method: WhiteBox) -> FeatureTerms:
        """Their projections go on being trained where a later stage compares the same states."""
        key = str((self._shape(method), [feature.json_bytes() for feature in method.features]))
        if key not in self._features:
            (layers, width), (their_layers, their_width) = shape_of(self._student.network), self._shape(method)
            seed = self._job.recipe.training.seed
            self._features[key] = FeatureTerms(method.features, layers, their_layers, width, their_width, seed=seed)
        features = self._features[key]
        if features.aligned and method.source in LOCAL and self._members[0].reads_otherwise:
            raise RecipeError(
                "Teacher and student have different tokenizers, so their states cannot be compared token by token. Compare what "
                "stands for a whole text (pooled, pkt, rkd_distance, rkd_angle, similarity_preserving), or give the student the "
                "teacher's tokenizer."
            )
        return features

    def _shape(self, method: WhiteBox) -> tuple[int, int]:
        """Layers and width of the states it can give."""
        if method.source == "ema" or not self._members:
            return shape_of(self._student.network)
        return shape_of(self._members[0].weights.network)


def _aligned(job: Job, student: Trainable, method: WhiteBox) -> AlignedTeacher:
    """A decoder that cuts text into other tokens, heard where both cuts meet. Raises RecipeError."""
    folders = teacher_folders(job)
    teacher = load_folder(folders[0], student.kind)
    if len(folders) > 1 or not isinstance(teacher, CausalStudent) or not isinstance(student, CausalStudent):
        raise RecipeError('align = "bytes" is between one teacher and one student, both decoders (kind = "causal").')
    splits = (read_examples(job.dataset_folder, split) for split in ("train", "valid"))
    examples = [example for split in splits for example in split]
    return AlignedTeacher(teacher, student, examples, by=ALIGNED_BY[method.loss])


def load_folder(folder: Path, kind: str) -> Trainable:
    """The model in `folder`; `kind` where it has no manifest that says."""
    teacher: Trainable = STUDENTS.resolve(kind_of(folder, kind)).load(folder)
    return teacher


@dataclass
class Local:
    """A teacher in a folder. Its weights are loaded when they are first needed, which for a whole cache is never."""

    job: Job
    student: Trainable
    folder: Path
    _own_rows: dict[str, Encoded] | None = field(default=None, init=False)

    @cached_property
    def weights(self) -> Trainable:
        """Checked against the student. Raises RecipeError where the same text becomes other tokens, or labels differ."""
        teacher = load_folder(self.folder, self.student.kind)
        if self.student.row_labels is None:
            check_tokenizers(teacher, self.student)
            if self.job.recipe.training.pack:
                packer_of(teacher)
        return teacher

    @property
    def order(self) -> tuple[int, ...] | None:
        """Which of its scores are the student's, for labels that both know in another order."""
        return None if self.student.row_labels is None else label_order(self.student.row_labels, self.weights.row_labels)

    @property
    def reads_otherwise(self) -> bool:
        """Whether it has a tokenizer of its own, which only a classifier may: its rows are examples, not tokens."""
        return self.student.row_labels is not None and self.weights.tokenizer_hash() != self.student.tokenizer_hash()

    def live(self) -> LiveTeacher:
        """The weights, beside the student's."""
        return LiveTeacher(self.weights, order=self.order, encoded=self._encoded() if self.reads_otherwise else None)

    def cached(self, method: WhiteBox, features: FeatureTerms | None, rows: Sequence[Encoded]) -> CachedTeacher:
        """What it said before; what it has not said yet it is asked now."""
        read = list(self._encoded().values()) if self.reads_otherwise else rows
        states = names_of(features.wanted, features.teacher_layers) if features is not None else ()
        tokenizer = self.weights.tokenizer_hash() if self.reads_otherwise else self.student.tokenizer_hash()
        tokens = self.student.vocabulary_size if self.student.row_labels is None else None
        key = key_of(method, tokenizer=tokenizer, teacher=teacher_hash(self.folder), states=states, vocabulary=tokens)
        root = self.job.signals_folder or self.job.work / "signals"
        reader = ensure_cache(root, key, read, lambda: self.weights, say=self._say, should_stop=self.job.should_stop)
        if reader is None:
            raise StopRequestedError
        return CachedTeacher(reader, map(entry_of, read), order=self.order)

    def _encoded(self) -> dict[str, Encoded]:
        if self._own_rows is None:
            splits = (read_examples(self.job.dataset_folder, split) for split in ("train", "valid"))
            examples = [example for split in splits for example in split]
            rows = self.weights.encode(examples, max_tokens=self.job.recipe.training.max_tokens)
            self._own_rows = {row.example: row for row in rows}
        return self._own_rows

    def _say(self, message: str) -> None:
        self.job.report(Progress(step=0, steps=self.job.recipe.training.steps or 0, message=message))


def check_tokenizers(teacher: Trainable, student: Trainable) -> None:
    """Raises RecipeError where the same text becomes other tokens."""
    if teacher.kind != student.kind and teacher.row_labels is None:
        raise RecipeError(
            f"The teacher is of kind '{teacher.kind}' and the student of kind '{student.kind}': they read a chat differently, "
            f"so their tokens cannot be compared. Take a teacher of kind '{student.kind}', or set [method] kind = \"black-box\"."
        )
    if teacher.tokenizer_hash() != student.tokenizer_hash():
        raise RecipeError(
            "Teacher and student have different tokenizers, so their logits cannot be compared. Give the student the teacher's "
            'tokenizer ([student] tokenizer = its folder), or compare where their texts meet ([method] align = "bytes"), or set '
            '[method] kind = "black-box", which learns from text and fits any pair.'
        )


def _mutual(job: Job, student: Trainable, method: WhiteBox, members: Sequence[Local]) -> MutualTeacher:
    """The peer: the teacher's weights where the recipe names one, else a second student from other random numbers.

    Its own lessons are the student's cross-entropy and forward KL, in the same shares.
    """
    if members and (members[0].reads_otherwise or members[0].order is not None):
        raise RecipeError(
            "The peer has a tokenizer of its own, or the labels in another order, and both learn from the same batches. Give the "
            "student the peer's tokenizer, and its labels in that order ([student.config] labels)."
        )
    peer = members[0].weights if members else _second(job)
    lessons = Distillation(method.model_copy(update={"features": ()}), LiveTeacher(student, frozen=False), ForwardKL())
    return MutualTeacher(peer, lessons, learning_rate=method.peer_learning_rate or job.recipe.training.learning_rate)


def _second(job: Job) -> Trainable:
    examples = read_examples(job.dataset_folder, "train")
    build = STUDENTS.resolve(job.recipe.student.kind).build
    second: Trainable = build(
        job.recipe.student, job.base_folder, dropout=0.0, seed=job.recipe.training.seed + 1, examples=examples
    )
    return second
