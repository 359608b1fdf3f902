"""An encoder: a network of the BERT family, or the compact one, that gives texts a label or a number, or each word a label.

With `pooling = "cls"`, and for words, its folder is what `AutoModelForSequenceClassification` and `...TokenClassification` load,
label names included. With `"mean"` the folder's body loads as `AutoModel`, and the head lies beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.recipe import Adapter
from stillhouse.recipe import Student as StudentSpec
from stillhouse.records import problems_of
from stillhouse.students.adapting import adapt
from stillhouse.students.base import refuse_unsafe_files
from stillhouse.students.building import config_from_scratch, with_dropout
from stillhouse.students.cards import card_of
from stillhouse.students.encoder_folders import (
    EncoderCard,
    auto_of,
    pretrained,
    read_encoder,
    reader_of,
    with_labels,
    write_encoder,
)
from stillhouse.students.folders import load_config, load_tokenizer
from stillhouse.students.initialising.encoders import embeddings_of, start_compact, start_plain, vocabulary_of
from stillhouse.students.initialising.resizing import resized
from stillhouse.students.lexicon import words_alike
from stillhouse.students.networks.compact import Compact, CompactShape
from stillhouse.students.networks.readers import Plain, Reader
from stillhouse.students.options import EncoderOptions, read_options
from stillhouse.students.reading import ReadingStudent
from stillhouse.students.states import real_tokens, with_states
from stillhouse.tensors import Batch, States, Wanted


class EncoderStudent(ReadingStudent):
    """An encoder with its tokenizer."""

    kind = "encoder"
    card: EncoderCard

    def __init__(self, network: Reader, tokenizer: Any, card: EncoderCard) -> None:
        super().__init__(network, tokenizer, card)
        self.takes_segments = int(getattr(network.body.config, "type_vocab_size", 0) or 0) > 1
        self.max_positions = _positions(network.body)
        if card.max_length is not None and self.max_positions is not None and card.max_length > self.max_positions:
            raise RecipeError(f"[student.config] max_length = {card.max_length}: the network has {self.max_positions} positions.")

    # -- made, loaded, saved ---------------------------------------------------------------------------------------------

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
    ) -> EncoderStudent:
        """A student to be trained: from the weights in `base_folder`, from the teacher's, or from random ones.

        `examples` is the train split, which gives the labels where `spec.config` has none, or a `teacher` that knows them all.
        Raises RecipeError for a spec that cannot be built, UsageError for a folder that cannot be loaded.
        """
        options, shape = read_options(EncoderOptions, spec.config)
        pooling = options.pooling or _pooling_of(options, base_folder, teacher if spec.init else None)
        card = card_of(EncoderCard, options, examples, teacher, architecture=options.architecture, pooling=pooling)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if spec.init is not None:
                student = _from_teacher(spec, base_folder, card, shape, dropout, teacher, examples)
            elif options.architecture == "compact":
                student = _compact(card, shape, _tokenizer(spec, base_folder), dropout)
            else:
                student = _from_transformers(spec, base_folder, card, shape, dropout)
        if spec.adapter is not None:
            _adapt(student.network, spec.adapter, seed)
        return student

    @classmethod
    def load(cls, folder: Path) -> EncoderStudent:
        """What `save` wrote, or a classifier that transformers saved. Raises UsageError for anything else."""
        refuse_unsafe_files(folder)
        card, network = read_encoder(folder)
        student = cls(network, load_tokenizer(folder), card)
        student.network.eval()
        return student

    def save(self, folder: Path) -> None:
        """Weights as safetensors, configuration, tokenizer, and `student.json` with what they do not say."""
        write_encoder(self.card, self.network, folder)
        self.tokenizer.save_pretrained(folder)

    def words_alike(self) -> dict[str, tuple[str, ...]]:
        """Word -> the words most like it, by the input embeddings; the most frequent word first."""
        return words_alike(self.tokenizer, embeddings_of(self.network))

    def _states(self, batch: Batch, wanted: Wanted | None) -> tuple[Tensor, States | None]:
        if not wanted:
            return self.network(batch.inputs), None
        states, inner = with_states(self.network.body, wanted, lambda: self.network(batch.inputs), real_tokens(batch))
        return states, inner


# -- from transformers --------------------------------------------------------------------------------------------------------


def _from_transformers(
    spec: StudentSpec, base_folder: Path | None, card: EncoderCard, shape: dict[str, Any], dropout: float
) -> EncoderStudent:
    tokenizer = _tokenizer(spec, base_folder)
    if base_folder is not None and shape:
        raise RecipeError(
            f"[student.config] {', '.join(sorted(shape))}: a network that starts from {base_folder} has its sizes from there."
        )
    if base_folder is None:
        config = config_from_scratch(shape, tokenizer, "encoder", '"bert", "distilbert" or "roberta"', {})
    else:
        config = load_config(base_folder)
    config = with_labels(with_dropout(config, dropout), card)
    auto = auto_of(card)
    body = auto.from_config(config, dtype=torch.float32) if base_folder is None else pretrained(auto, base_folder, config, card)
    if len(tokenizer) > config.vocab_size:
        raise RecipeError(f"The tokenizer has {len(tokenizer)} tokens, and the network has room for {config.vocab_size}.")
    return EncoderStudent(reader_of(body, card), tokenizer, card)


def _adapt(network: Any, adapter: Adapter, seed: int) -> None:
    """Adapters in the body; the head is trained whole. Raises RecipeError for a network that is none of transformers'."""
    if isinstance(network, Compact):
        raise RecipeError("[student.adapter] goes into a transformers network; the compact one is small enough to train whole.")
    body = network.body
    heads = [name for name, _ in body.named_children() if name != body.base_model_prefix] if isinstance(network, Plain) else []
    adapt(body, adapter, seed=seed, whole=heads)


def _pooling_of(options: EncoderOptions, base_folder: Path | None, teacher: Any) -> Literal["mean", "cls"]:
    """What the recipe leaves open: as the teacher it starts from, as a sentence encoder's folder says, or the architecture's."""
    if isinstance(teacher, EncoderStudent):
        return teacher.card.pooling
    if options.architecture == "compact":
        return "mean"
    path = None if base_folder is None else base_folder / "1_Pooling" / "config.json"
    if path is not None and path.is_file() and json.loads(path.read_bytes()).get("pooling_mode_mean_tokens"):
        return "mean"
    return "cls"


def _tokenizer(spec: StudentSpec, base_folder: Path | None) -> Any:
    folder = Path(spec.tokenizer) if spec.tokenizer else base_folder
    if folder is None:
        raise RecipeError("An encoder from scratch needs a tokenizer: set [student] tokenizer to its folder.")
    return load_tokenizer(folder)


def _positions(body: Any) -> int | None:
    """Longest text: RoBERTa's family counts positions from behind the padding's."""
    positions = getattr(body.config, "max_position_embeddings", None)
    if not positions:
        return None
    first = 0
    for name, module in body.named_modules():
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            first = int(module.padding_idx) + 1
    return int(positions) - first


# -- from the teacher ---------------------------------------------------------------------------------------------------------


def _from_teacher(
    spec: StudentSpec,
    base_folder: Path | None,
    card: EncoderCard,
    shape: dict[str, Any],
    dropout: float,
    teacher: Any,
    examples: Sequence[Example] | None,
) -> EncoderStudent:
    """The teacher, cut to the sizes that `shape` names; what it leaves out stays the teacher's."""
    init = spec.init
    assert init is not None
    if not isinstance(teacher, EncoderStudent):
        raise RecipeError("[student.init] starts an encoder from its teacher: set [teacher] model to an encoder of this machine.")
    if base_folder is not None or spec.tokenizer is not None:
        raise RecipeError("[student.init] takes weights and tokenizer from the teacher: leave [student] base and tokenizer out.")
    tokenizer, vocabulary = vocabulary_of(teacher, init, examples)
    if card.architecture == "compact":
        student = _compact(card, shape, tokenizer, dropout)
        assert isinstance(student.network, Compact)
        start_compact(teacher, student.network, init, examples, vocabulary, card.labels.names)
        return student
    theirs = teacher.network.body.config
    if card.pooling != teacher.card.pooling or isinstance(teacher.network, Compact):
        raise RecipeError(
            f"The teacher is {teacher.card.architecture} and pools by {teacher.card.pooling}: the student must, too."
        )
    config = with_labels(with_dropout(resized(theirs, {**shape, "vocab_size": len(tokenizer)}), dropout), card)
    reader = reader_of(auto_of(card).from_config(config, dtype=torch.float32), card)
    start_plain(teacher, reader, init, examples, vocabulary, card.labels.names)
    return EncoderStudent(reader, tokenizer, card)


# -- the compact network ------------------------------------------------------------------------------------------------------


def _compact(card: EncoderCard, shape: dict[str, Any], tokenizer: Any, dropout: float) -> EncoderStudent:
    try:
        made = CompactShape.model_validate({"vocab_size": len(tokenizer), **shape})
    except ValidationError as exc:
        raise RecipeError(f"[student.config] does not shape a compact encoder: {problems_of(exc)}.") from exc
    card = card.model_copy(update={"shape": made})
    return EncoderStudent(Compact(made, card.size, each_token=card.objective == "tokens", dropout=dropout), tokenizer, card)
