"""The smallest encoders there are: words of a small language as tokens, two layers of 32; and what they are taught in tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.recipe import Student
from stillhouse.students.encoder import EncoderStudent

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PARTS = ["red", "green", "blue", "two", "seven", "cat", "dog", "apple", "pear", "##ish", "the", "not", "##berry"]


def write_wordpieces(folder: Path) -> Path:
    """A WordPiece tokenizer as BERT's, with every letter and the words above, in `folder`."""
    vocabulary = [*SPECIAL, *PARTS, *LETTERS, *(f"##{letter}" for letter in LETTERS), ".", "?"]
    tokenizer = Tokenizer(WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


BERT: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
COMPACT: dict[str, Any] = {
    "architecture": "compact",
    "hidden_size": 32,
    "embedding_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
DISTILBERT = {"model_type": "distilbert", "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64}
ROBERTA = {**BERT, "model_type": "roberta"}
SHAPES: dict[str, dict[str, Any]] = {
    "bert cls": {**BERT, "pooling": "cls"},
    "bert mean": {**BERT, "pooling": "mean"},
    "roberta": ROBERTA,
    "distilbert": DISTILBERT,
    "compact": COMPACT,
    "compact pre-norm": {**COMPACT, "norm": "pre"},
}


def spec(tokenizer: Path, kind: str = "encoder", **config: Any) -> Student:
    """A tiny BERT, unless `config` says otherwise."""
    shape = {} if kind == "static" or "architecture" in config else BERT
    return Student(kind=kind, config={**shape, **config}, tokenizer=str(tokenizer))


def example(text: str, answer: str, *, split: str = "train", **metadata: str) -> Example:
    chat = [{"role": "user", "content": text}]
    return Example.model_validate(
        {"id": f"{text}/{metadata}", "messages": chat, "answer": answer, "split": split, "metadata": metadata}
    )


def kinds_of_things() -> list[Example]:
    """Texts that name an animal or a fruit, or neither: 45 to train on and 9 to watch."""
    found = []
    for i, colour in enumerate(["red", "green", "blue", "blueish", "seven", "two"]):
        for thing, label in {
            "cat": "animal",
            "dogs": "animal",
            "pear": "fruit",
            "apples": "fruit",
            "berry": "fruit",
            "": "none",
        }.items():
            text = f"the {colour} {thing}".strip()
            found.append(example(text, label, split="valid" if (i + len(thing)) % 6 == 5 else "train"))
    return found


def words() -> list[Example]:
    """Texts whose every word has a label."""
    label = {"cat": "THING", "pear": "THING", "red": "COLOUR", "blueish": "COLOUR"}
    texts = ["the red cat", "blueish pear", "the  cat", "red ?", "pear red the"]
    return [example(text, " ".join(label.get(word, "O") for word in text.split())) for text in texts]


def build(tokenizer: Path, examples: list[Example] | None = None, **config: Any) -> EncoderStudent:
    """A tiny BERT, or what `config` says, that knows the kinds of things, or `examples`."""
    config = config if "model_type" in config or "architecture" in config else {**BERT, **config}
    given = Student(kind="encoder", config=config, tokenizer=str(tokenizer))
    student = EncoderStudent.build(given, examples=kinds_of_things() if examples is None else examples)
    student.network.eval()
    return student


def said(text: str) -> list[Message]:
    return [{"role": "user", "content": text}]


def scores(student: EncoderStudent, texts: list[str]) -> torch.Tensor:
    return torch.cat(student.scores(student.questions([said(text) for text in texts])))
