"""A task of two labels that a tiny encoder learns in seconds: its files, its base as transformers saves it, and recipes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from stillhouse.dataset import Example
from tests.students.tiny_encoders import BERT, example, write_wordpieces

THINGS = {"cat": "animal", "dog": "animal", "catish": "animal", "apple": "fruit", "pear": "fruit", "berry": "fruit"}
TEACHER = """
name = "teacher"
[student]
kind = "encoder"
base = "{base}"
[student.config]
pooling = "mean"
[training]
steps = {steps}
batch_size = 16
learning_rate = 5e-3
checkpoint_every = {every}
evaluate_every = 100
threads = 1
"""
STUDENT = """
name = "student"
[data]
name = "things"
[data.augment]
factor = 3
[teacher]
recipe = "teacher.toml"
[student]
kind = "encoder"
[student.config]
architecture = "compact"
hidden_size = 16
embedding_size = 8
num_hidden_layers = 1
num_attention_heads = 1
intermediate_size = 32
[student.init]
embeddings = "outputs"
[method]
kind = "white-box"
loss = "forward_kl"
temperature = 2.0
source = "cache"
[method.cache]
tier = "logits"
[training]
steps = 30
batch_size = 32
learning_rate = 5e-3
threads = 1
[evaluation]
graders = ["exact"]
"""


def rows(split: str = "train") -> Iterator[tuple[str, str]]:
    """(text, label): 60 to train on, 12 others to test on."""
    colours, counts = ["red", "green", "blue", "redish"], ["two", "seven", ""]
    for place, (colour, count, thing) in enumerate(product(colours, counts, THINGS)):
        if (place % 6 == place // 6 % 6) == (split == "test"):
            yield f"the {count} {colour} {thing}".replace("  ", " "), THINGS[thing]


def examples() -> list[Example]:
    """All of them."""
    return [example(text, label, split=split) for split in ("train", "test") for text, label in rows(split)]


def write_csv(path: Path, split: str) -> Path:
    """A file with the columns `text,category`."""
    lines = "".join(f"{text},{label}\n" for text, label in rows(split))
    path.write_text(f"text,category\n{lines}", encoding="utf-8")
    return path


def write_base(folder: Path) -> Path:
    """A random BERT without a head, as transformers saves it, with its tokenizer."""
    write_wordpieces(folder)
    vocabulary = len((folder / "tokenizer.json").read_text().split('"vocab"')[1].split("}")[0].split(","))
    config = BertConfig(**{name: value for name, value in BERT.items() if name != "model_type"}, vocab_size=vocabulary)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    return folder


def write_recipes(folder: Path, *, steps: int = 60, every: int = 100) -> Path:
    """`student.toml` and, beside it, the `teacher.toml` that it names; returns the first."""
    base = write_base(folder / "base")
    (folder / "teacher.toml").write_text(TEACHER.format(base=base, steps=steps, every=every), encoding="utf-8")
    (folder / "student.toml").write_text(STUDENT, encoding="utf-8")
    return folder / "student.toml"
