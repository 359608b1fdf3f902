"""What lies in an encoder's folder, and the network that is made of it: what transformers saved, what we did, the card.

How a student to be trained comes about, from a recipe, stands in `encoder.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoModelForTokenClassification

from stillhouse.errors import UsageError
from stillhouse.students.adapting import save_network
from stillhouse.students.cards import CARD, Card, load_card
from stillhouse.students.folders import load_config
from stillhouse.students.labels import LabelSet
from stillhouse.students.networks.compact import Compact, CompactShape
from stillhouse.students.networks.readers import Mean, Plain, Reader

HEAD = "head.safetensors"
"""The last layer of an encoder that pools by the mean: its body's file holds no head."""
WEIGHTS = "model.safetensors"


class EncoderCard(Card):
    """And how the network is made."""

    architecture: Literal["transformers", "compact"] = "transformers"
    pooling: Literal["mean", "cls"] = "cls"
    shape: CompactShape | None = None
    """Of a compact network."""


def read_encoder(folder: Path) -> tuple[EncoderCard, Reader]:
    """What `write_encoder` wrote, or a classifier that transformers saved. Raises UsageError for anything else."""
    card = load_card(EncoderCard, folder) if (folder / CARD).is_file() else _foreign_card(folder)
    return card, _load_reader(card, folder) if card.shape is None else _load_compact(card, folder)


def write_encoder(card: EncoderCard, network: Reader, folder: Path) -> None:
    """Weights as safetensors, configuration, and `student.json` with what they do not say."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(network, Compact):
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / WEIGHTS)
    else:
        save_network(network.body, folder)
    if isinstance(network, Mean):
        save_file({name: tensor.contiguous() for name, tensor in network.last.state_dict().items()}, folder / HEAD)
    (folder / CARD).write_text(card.model_dump_json(indent=1), encoding="utf-8")


def reader_of(body: Any, card: EncoderCard) -> Reader:
    return Mean(body, card.size) if _averages(card) else Plain(body)


def auto_of(card: EncoderCard) -> Any:
    """The class of transformers that makes this network."""
    if _averages(card):
        return AutoModel
    return AutoModelForTokenClassification if card.objective == "tokens" else AutoModelForSequenceClassification


def with_labels(config: Any, card: EncoderCard) -> Any:
    """`config` with the labels' names, for whoever loads the folder without us."""
    names = card.labels.names if card.size > 1 else ("LABEL_0",)
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    config.problem_type = "regression" if card.objective == "regression" else "single_label_classification"
    return config


def pretrained(auto: Any, folder: Path, config: Any, card: EncoderCard) -> Any:
    """The weights in `folder`; a head they do not have, or have for other labels, is random."""
    network, notes = _load(auto, folder, config, ignore_mismatched_sizes=True)
    body = f"{network.base_model_prefix}."
    missing = [key for key in notes["missing_keys"] if (key.startswith(body) or _averages(card)) and ".pooler." not in f".{key}"]
    if missing:
        raise UsageError(f"The model in {folder} is not whole: {len(missing)} weights are missing, {min(missing)} among them.")
    return network


def _averages(card: EncoderCard) -> bool:
    return card.pooling == "mean" and card.objective != "tokens"


def _load_reader(card: EncoderCard, folder: Path) -> Reader:
    """The network that `save` wrote. Raises UsageError where a weight is missing."""
    network, notes = _load(auto_of(card), folder, with_labels(load_config(folder), card))
    averages = _averages(card)
    missing = sorted(key for key in notes["missing_keys"] if not (averages and key.startswith("pooler.")))
    if missing:
        raise UsageError(f"The model in {folder} is not whole: {len(missing)} weights are missing, {missing[0]} among them.")
    reader = reader_of(network, card)
    if averages:
        try:
            reader.last.load_state_dict(load_file(folder / HEAD))
        except (OSError, RuntimeError, SafetensorError) as exc:
            raise UsageError(f"The head in {folder} cannot be loaded ({HEAD}): {exc}.") from exc
    return reader


def _load_compact(card: EncoderCard, folder: Path) -> Compact:
    assert card.shape is not None
    network = Compact(card.shape, card.size, each_token=card.objective == "tokens")
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as exc:
        raise UsageError(f"The model in {folder} cannot be loaded: {exc}.") from exc
    return network


def _load(auto: Any, folder: Path, config: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
    try:
        network, notes = auto.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as exc:
        raise UsageError(f"The model in {folder} cannot be loaded: {exc}.") from exc
    return network, notes


def _foreign_card(folder: Path) -> EncoderCard:
    """The card of a classifier that was trained elsewhere, by its configuration. Raises UsageError for another kind of model."""
    config = load_config(folder)
    architecture = str((getattr(config, "architectures", None) or ["?"])[0])
    if not architecture.endswith(("ForSequenceClassification", "ForTokenClassification")):
        raise UsageError(
            f"{folder} holds no classifier but a {architecture}. "
            'Train one from it: [student] kind = "encoder", base = its folder.'
        )
    labels = LabelSet(by_task={"": tuple(config.id2label[number] for number in range(config.num_labels))})
    if architecture.endswith("ForTokenClassification"):
        return EncoderCard(objective="tokens", labels=labels)
    if config.num_labels == 1:
        return EncoderCard(objective="regression")
    return EncoderCard(labels=labels)
