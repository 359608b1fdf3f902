"""The models that come with the package: whole, small enough, and as good (the teacher) and as ignorant (the base) as is said."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.answers import final_answer
from stillhouse.artifacts import load_manifest, verify
from stillhouse.shipped import ASSETS
from stillhouse.tasks import TASKS

pytest.importorskip("torch")

MODELS = ("teacher", "base")
PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126))


@lru_cache(maxsize=2)
def _model(name: str) -> Any:
    import torch

    from stillhouse.students.causal import CausalStudent

    torch.set_num_threads(1)
    return CausalStudent.load(ASSETS / name)


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_is_whole(name: str) -> None:
    assert verify(ASSETS / name).kind == "causal"


def test_both_models_are_ten_megabytes_at_most() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 10_000_000


def test_the_base_has_at_most_a_fifth_of_the_teachers_parameters() -> None:
    teacher, base = (load_manifest(ASSETS / name) for name in MODELS)
    assert (teacher.parameters, base.parameters) == tuple(_model(name).parameters for name in MODELS)
    assert 5 * base.parameters <= teacher.parameters


def test_both_models_read_with_the_same_tokenizer() -> None:
    assert _model("teacher").tokenizer_hash() == _model("base").tokenizer_hash()


@given(text=PRINTABLE)
def test_any_printable_text_comes_back_as_it_was(text: str) -> None:
    tokenizer = _model("base").tokenizer
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_names_are_spelt_and_template_words_are_whole() -> None:
    tokenizer = _model("base").tokenizer
    assert tokenizer.tokenize("A coin is heads up. Zog flips it.") == [
        "A",
        " coin",
        " is",
        " heads",
        " up",
        ".",
        " ",
        "Z",
        "o",
        "g",
        " flips",
        " it",
        ".",
    ]


def test_what_is_no_ascii_is_one_unknown_token_each() -> None:
    tokenizer = _model("base").tokenizer
    assert tokenizer("é好")["input_ids"] == [tokenizer.unk_token_id] * 2


def _right(model: str, task: str, count: int) -> float:
    questions = TASKS.resolve(task)(count, 11, "unseen")
    answers = _model(model).answer([[{"role": "user", "content": question.text}] for question in questions], max_tokens=160)
    right = [final_answer(answer) == question.answer for question, answer in zip(questions, answers, strict=True)]
    return right.count(True) / count


@pytest.mark.parametrize("task", TASKS.names())
def test_the_teacher_solves_unseen_questions(task: str) -> None:
    assert _right("teacher", task, 20) >= 0.9


@pytest.mark.full
@pytest.mark.parametrize("task", TASKS.names())
def test_the_teacher_solves_98_of_100_unseen_questions(task: str) -> None:
    assert _right("teacher", task, 300) >= 0.98


@pytest.mark.parametrize(("task", "chance"), [("coin_flip", 0.5), ("last_letters", 0.0)])
def test_the_base_is_at_chance(task: str, chance: float) -> None:
    assert _right("base", task, 40) <= chance + 0.2


def test_the_bases_language_holds_neither_task() -> None:
    words = _words_of_the_base_language()
    assert words.isdisjoint({"coin", "flip", "flips", "heads", "tails", "turns", "even", "odd", "last", "ends", "join"})


def _words_of_the_base_language() -> set[str]:
    import importlib.util

    path = Path(__file__).parent.parent / "scripts" / "base_language.py"
    spec = importlib.util.spec_from_file_location("base_language", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {word.strip(".,:?") for exchange in module.exchanges(5_000) for text in exchange for word in text.split()}
