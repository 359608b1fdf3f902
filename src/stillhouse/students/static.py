"""A static student: a table of tokens, their mean, a small network (Tulkens & van Dongen 2024, Model2Vec; with a taught head).

Tens of times as fast as its teacher, because no token looks further than its window; with `window = 1` none looks at another, and
what depends on the order of words cannot be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError, UsageError
from stillhouse.recipe import Student as StudentSpec
from stillhouse.records import problems_of
from stillhouse.students.base import refuse_unsafe_files
from stillhouse.students.cards import CARD, Card, card_of, load_card
from stillhouse.students.folders import load_tokenizer
from stillhouse.students.initialising.encoders import table_of, vocabulary_of
from stillhouse.students.lexicon import words_alike
from stillhouse.students.networks.table import Table, TableShape
from stillhouse.students.options import ReadingOptions, read_options
from stillhouse.students.reading import ReadingStudent
from stillhouse.tensors import Batch, States, Wanted

WEIGHTS = "model.safetensors"


class StaticCard(Card):
    """And the sizes."""

    shape: TableShape


class StaticStudent(ReadingStudent):
    """A table with its tokenizer."""

    kind = "static"
    card: StaticCard

    def __init__(self, network: Table, tokenizer: Any, card: StaticCard) -> None:
        super().__init__(network, tokenizer, card)

    @classmethod
    def build(
        cls,
        spec: StudentSpec,
        base_folder: Path | None = None,
        *,
        dropout: float = 0.0,
        seed: int = 0,
        examples: Sequence[Example] | None = None,
        teacher: Any = None,
    ) -> StaticStudent:
        """A student to be trained, its table random or, with `spec.init`, made of what an encoder knows of each token.

        The tokenizer is the teacher's then, else `spec.tokenizer`'s or that of `base_folder`. Raises RecipeError for a spec that
        cannot be built.
        """
        options, sizes = read_options(ReadingOptions, spec.config)
        if options.objective == "tokens":
            raise RecipeError(
                '[student.config] objective = "tokens": a static student reads a text as a whole. Take kind = "encoder".'
            )
        tokenizer, vocabulary = _tokenizer(spec, base_folder, teacher, examples)
        card = card_of(StaticCard, options, examples, teacher, shape=_shape(sizes, len(tokenizer)))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = Table(card.shape, card.size, dropout=dropout)
        if spec.init is not None:
            network.rows = table_of(teacher, spec.init, vocabulary, card.shape.embedding_size)
        return cls(network, tokenizer, card)

    @classmethod
    def load(cls, folder: Path) -> StaticStudent:
        """What `save` wrote. Raises UsageError for a folder without it."""
        refuse_unsafe_files(folder)
        card = load_card(StaticCard, folder)
        network = Table(card.shape, card.size)
        try:
            network.load_state_dict(load_file(folder / WEIGHTS))
        except (OSError, RuntimeError, SafetensorError) as exc:
            raise UsageError(f"The model in {folder} cannot be loaded: {exc}.") from exc
        network.eval()
        return cls(network, load_tokenizer(folder), card)

    def save(self, folder: Path) -> None:
        """Weights as safetensors, tokenizer, card."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}, folder / WEIGHTS)
        self.tokenizer.save_pretrained(folder)
        (folder / CARD).write_text(self.card.model_dump_json(indent=1), encoding="utf-8")

    def words_alike(self) -> dict[str, tuple[str, ...]]:
        """Word -> the words most like it, by the table; the most frequent word first."""
        return words_alike(self.tokenizer, self.network.rows.weight)

    def _states(self, batch: Batch, wanted: Wanted | None) -> tuple[Tensor, States | None]:
        if wanted and (wanted.hidden or wanted.attention or wanted.relations):
            raise UsageError("A static student has no layers: compare its pooled states, or its distribution alone.")
        states_BH = self.network(batch.inputs)
        return states_BH, States(batch.inputs["attention_mask"].bool(), pooled_BH=states_BH) if wanted else None


def _tokenizer(
    spec: StudentSpec, base_folder: Path | None, teacher: Any, examples: Sequence[Example] | None
) -> tuple[Any, Tensor | None]:
    """The tokenizer, and the teacher's rows that its tokens are of."""
    if spec.init is not None:
        if getattr(teacher, "kind", None) != "encoder":
            raise RecipeError(
                "[student.init] makes the table from a teacher that is an encoder of this machine: set [teacher] model."
            )
        return vocabulary_of(teacher, spec.init, examples)
    folder = Path(spec.tokenizer) if spec.tokenizer else base_folder
    if folder is None:
        raise RecipeError("A static student needs a tokenizer: set [student] tokenizer to its folder, or [student.init].")
    return load_tokenizer(folder), None


def _shape(sizes: dict[str, Any], vocabulary: int) -> TableShape:
    try:
        return TableShape.model_validate({"vocab_size": vocabulary, **sizes})
    except ValidationError as exc:
        raise RecipeError(f"[student.config] does not shape a static student: {problems_of(exc)}.") from exc
