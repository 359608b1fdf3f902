"""A linear classifier: TF-IDF of words and characters, logistic regression. It answers the last user message with a label.

Small, trained in a minute, hard to beat on short texts. Saved with skops, whose loader builds only the types listed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile

from pydantic import Field, ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn, untyped

from stillhouse.chat import Message
from stillhouse.errors import RecipeError, TrainingError, UsageError
from stillhouse.records import Record, problems_of
from stillhouse.students import skops_io
from stillhouse.students.base import last_user_text, refuse_unsafe_files

MODEL_FILE = "model.skops"
TRUSTED: tuple[str, ...] = ()
"""Types beyond skops' own safe list (numpy, scipy, scikit-learn) that a saved student may hold; any other is refused."""


class LinearOptions(Record):
    """`[student.config]` of a linear student."""

    words: tuple[int, int] = (1, 2)
    """Shortest and longest run of words that is a feature."""
    characters: tuple[int, int] = (2, 5)
    """The same of characters within a word."""
    min_count: int | None = Field(default=None, ge=1)
    """Training texts that a run must be in. None: 2, or 1 where there are under a thousand texts."""
    regularisation: float = Field(default=5.0, gt=0)
    """Inverse strength: scikit-learn's C. 5 was the best of 2, 5 and 10 on a fifth of Banking77's train file, held out."""
    iterations: int = Field(default=300, ge=1)


class LinearStudent:
    """A pipeline from text to label, with probabilities."""

    kind = "linear"

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[str],
        config: dict[str, Any],
        *,
        seed: int = 0,
        weights: Sequence[float] | None = None,
    ) -> LinearStudent:
        """Train on texts and their labels, each counting as much as its weight says (None: all the same).

        Raises RecipeError for unknown options, TrainingError for fewer than two labels.
        """
        try:
            options = LinearOptions.model_validate(config)
        except ValidationError as exc:
            raise RecipeError(f"[student.config] does not shape a linear student: {problems_of(exc)}.") from exc
        if len(set(labels)) < 2:
            raise TrainingError(
                f"A linear student tells labels apart and needs at least two; the train split has {len(set(labels))}."
            )
        count = options.min_count or (1 if len(texts) < 1000 else 2)
        pipeline = _pipeline(options.model_copy(update={"min_count": count}), seed)
        try:
            with threadpool_limits(1):  # sparse products use one thread anyway; the others would only spin
                counted = {} if weights is None else {"classifier__sample_weight": list(weights)}
                pipeline.fit(list(texts), list(labels), **counted)
        except ValueError as exc:
            raise TrainingError(f"There is no word or character to learn from in these texts: {exc}.") from exc
        return cls(pipeline)

    @classmethod
    def load(cls, folder: Path) -> LinearStudent:
        """What `save` wrote. Raises UsageError for a folder without it, or with types that are not listed as trusted."""
        refuse_unsafe_files(folder)
        path = folder / MODEL_FILE
        if not path.is_file():
            raise UsageError(f"{folder} holds no linear student: {MODEL_FILE} is missing.")
        try:
            foreign = sorted(set(skops_io.get_untrusted_types(file=path)) - set(TRUSTED))
            if foreign:
                raise UsageError(f"{path} holds {', '.join(foreign[:3])}, which no linear student has. It is not loaded.")
            pipeline = skops_io.load(path, trusted=list(TRUSTED))
        except (ValueError, TypeError, KeyError, OSError, BadZipFile) as exc:
            raise UsageError(f"{path} cannot be read: {exc}.") from exc
        if not isinstance(pipeline, Pipeline) or list(pipeline.named_steps) != ["features", "classifier"]:
            raise UsageError(f"{path} holds no linear student but a {type(pipeline).__name__}.")
        return cls(pipeline)

    def save(self, folder: Path) -> None:
        """One file, `model.skops`."""
        folder.mkdir(parents=True, exist_ok=True)
        skops_io.dump(self._pipeline, folder / MODEL_FILE, compression=ZIP_DEFLATED)

    @property
    def parameters(self) -> int:
        """Coefficients and intercepts; the vocabulary's weights are counted from data, not trained."""
        classifier = self._pipeline.named_steps["classifier"]
        return int(classifier.coef_.size + classifier.intercept_.size)

    @property
    def labels(self) -> list[str]:
        """In the order of the probabilities."""
        return [str(label) for label in self._pipeline.classes_]

    def answer(self, chats: Sequence[Sequence[Message]], *, max_tokens: int = 256) -> list[str]:
        """The likeliest label for each chat. A label is given whole, whatever `max_tokens`."""
        return [max(row, key=row.__getitem__) for row in self.probabilities(chats)]

    def probabilities(self, chats: Sequence[Sequence[Message]]) -> list[dict[str, float]]:
        """Label -> probability, for each chat; each sums to 1."""
        if not chats:
            return []
        rows = self._pipeline.predict_proba([last_user_text(chat) for chat in chats])
        return [dict(zip(self.labels, row, strict=True)) for row in rows.tolist()]


def _pipeline(options: LinearOptions, seed: int) -> Any:
    words = TfidfVectorizer(ngram_range=options.words, sublinear_tf=True, min_df=options.min_count)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=options.characters, sublinear_tf=True, min_df=options.min_count)
    classifier = LogisticRegression(C=options.regularisation, max_iter=options.iterations, random_state=seed)
    features = FeatureUnion([("words", words), ("characters", characters)])
    return Pipeline([("features", features), ("classifier", classifier)])
