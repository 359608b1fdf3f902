"""Every kind of network can be asked once and read for ever: its cache says what it would, whatever a row is of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stillhouse.dataset import Example
from stillhouse.losses.sources import Dense, Projected, Source
from stillhouse.method import Cache, WhiteBox
from stillhouse.students import STUDENTS
from stillhouse.students.base import Trainable
from stillhouse.tensors import Batch, Wanted
from stillhouse.training.caching import ensure_cache, entry_of, key_of
from stillhouse.training.inner_states import names_of
from stillhouse.training.teachers.cached import CachedTeacher
from stillhouse.training.teachers.live import LiveTeacher
from tests.students import tiny_encoders, tiny_t5

torch.set_num_threads(1)


def classified() -> list[Example]:
    return tiny_encoders.kinds_of_things()


def numbered() -> list[Example]:
    return [tiny_encoders.example(f"{word} cat", str(i / 3)) for i, word in enumerate(["red", "blue", "two", "the"])]


def worded() -> list[Example]:
    texts = ["the red cat", "blueish pear", "the  cat", "red ?", "pear red the"]
    return [tiny_encoders.example(text, " ".join("O" if len(w) > 3 else "X" for w in text.split())) for text in texts]


def tasked() -> list[Example]:
    kinds = [
        tiny_encoders.example(f"red {thing}", "animal" if thing == "cat" else "fruit", task="kind") for thing in ("cat", "pear")
    ]
    return [*kinds, *(tiny_encoders.example(f"{colour} cat", colour, task="colour") for colour in ("red", "blue"))]


def encoder(examples: Callable[[], list[Example]], kind: str = "encoder", **config: Any) -> Callable[[Path], Trainable]:
    def build(root: Path) -> Trainable:
        spec = tiny_encoders.spec(tiny_encoders.write_wordpieces(root), kind, **config)
        made: Trainable = STUDENTS.resolve(kind).build(spec, examples=examples(), seed=3)
        return made

    return build


def t5(root: Path) -> Trainable:
    made = tiny_t5.build(root)
    tiny_t5.shake(made)
    return made


KINDS: dict[str, tuple[Callable[[Path], Trainable], Callable[[], list[Example]]]] = {
    "labels": (encoder(classified), classified),
    "labels, compact": (encoder(classified, architecture="compact"), classified),
    "labels, static": (encoder(classified, kind="static"), classified),
    "labels of words": (encoder(worded, objective="tokens"), worded),
    "numbers": (encoder(numbered, objective="regression"), numbered),
    "tasks": (encoder(tasked, heads="task"), tasked),
    "seq2seq": (t5, classified),
}


def said(source: Source, batch: Batch) -> Tensor:
    """log_probs_NV; of a regression its numbers."""
    if batch.targets_N.is_floating_point():
        if isinstance(source, Projected):
            return source.head.scores(source.hidden_NH).detach()
        assert isinstance(source, Dense)
        return source.scores_NV
    target = source.target(slice(None), batch.targets_N, torch.ones(len(batch.targets_N), 1), source.vocabulary)
    assert target.log_probs_NV is not None
    return target.log_probs_NV


@pytest.mark.parametrize("tier", ["hidden", "logits"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_cache_says_what_it_would(tmp_path: Path, kind: str, tier: Any) -> None:
    build, examples = KINDS[kind]
    teacher = build(tmp_path / "tokenizer")
    teacher.network.eval()
    rows = teacher.encode(examples(), max_tokens=64)
    key = key_of(WhiteBox(source="cache", cache=Cache(tier=tier)), tokenizer="t", teacher="w")
    reader = ensure_cache(tmp_path / "signals", key, rows, lambda: teacher)
    assert reader is not None
    batch = teacher.collate(rows[::-1])
    live, kept = (
        said(teaching.source(batch), batch) for teaching in (LiveTeacher(teacher), CachedTeacher(reader, map(entry_of, rows)))
    )
    assert live.shape == kept.shape
    assert torch.equal(live.exp() == 0, kept.exp() == 0)
    possible_NV = live.exp() > 0
    assert (live - kept)[possible_NV].abs().max() <= 4e-3 * max(1.0, float(live[possible_NV].abs().max()))


@pytest.mark.parametrize("kind", ["labels", "labels, compact"])
def test_its_inner_states_are_kept_for_features(tmp_path: Path, kind: str) -> None:
    build, examples = KINDS[kind]
    teacher = build(tmp_path / "tokenizer")
    teacher.network.eval()
    rows = teacher.encode(examples(), max_tokens=64)
    wanted = Wanted(hidden=True, relations=frozenset({"keys"}), pooled=True)
    key = key_of(WhiteBox(source="cache"), tokenizer="t", teacher="w", states=names_of(wanted, {1, 2}))
    reader = ensure_cache(tmp_path / "signals", key, rows, lambda: teacher)
    assert reader is not None
    batch = teacher.collate(rows[5:12])
    live, kept = (
        teaching.states(batch, wanted) for teaching in (LiveTeacher(teacher), CachedTeacher(reader, map(entry_of, rows)))
    )
    assert torch.equal(live.mask_BT, kept.mask_BT)
    assert live.pooled_BH is not None and kept.pooled_BH is not None
    real_BT1 = live.mask_BT[..., None]
    pairs = [(live.pooled_BH, kept.pooled_BH), (live.hidden[2] * real_BT1, kept.hidden[2] * real_BT1)]
    pairs.append((live.keys[1] * real_BT1[:, None], kept.keys[1] * real_BT1[:, None]))
    for theirs, ours in pairs:
        assert (theirs - ours).abs().max() <= 2e-3 * theirs.abs().max()
