"""Makes the two models that the demo comes with: the teacher, which reasons, and the base that its student starts from.

    python scripts/make_demo_models.py teacher --work build/demo-models
    python scripts/make_demo_models.py base --work build/demo-models

Each trains from scratch on generated text with the project's own trainer (so it goes on where it was stopped), prints what it
measures on unseen questions with unseen names, and puts the model into src/stillhouse/assets/. The log of the real runs is in
docs/log.md. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from base_language import exchanges
from letter_tokenizer import build, save
from stillhouse.answers import final_answer
from stillhouse.artifacts import load_manifest, write_manifest
from stillhouse.dataset import Example, Split
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.recipe import Recipe, Student, Training
from stillhouse.students.causal import CausalStudent
from stillhouse.tasks import TASKS
from stillhouse.tasks.base import Question
from stillhouse.tasks.words import Pool
from stillhouse.training import Progress, train

ASSETS = Path(__file__).parent.parent / "src" / "stillhouse" / "assets"
QUESTIONS = 8_000
"""A task, for the teacher. No question comes twice in its training."""
EXCHANGES = 60_000
"""For the base."""
MIXED_IN = 1_000
"""Of such exchanges, for the teacher."""
VALID = 200
SHAPES = {
    "teacher": {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 6},
    "base": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4},
}
TRAINING = {
    "teacher": Training(steps=500, batch_size=32, learning_rate=7e-4, checkpoint_every=100, evaluate_every=250, threads=2),
    "base": Training(steps=1_500, batch_size=48, learning_rate=2e-3, checkpoint_every=250, evaluate_every=250, threads=1),
}


def questions(count: int, seed: int, pool: Pool) -> list[Question]:
    """`count` questions of each task."""
    return [question for name in TASKS.names() for question in TASKS.resolve(name)(count, seed, pool)]


def teacher_examples() -> list[Example]:
    """Each question once, with a rationale of a style drawn for it: so one question can be answered in several.

    The base's language is mixed in, because a model that can copy a name learns to reason about it sooner.
    """
    rng = random.Random(0)
    rows = [(question.text, rng.choice(question.rationales)) for question in questions(QUESTIONS, 0, "teach")]
    rows += exchanges(MIXED_IN, 1)
    rng.shuffle(rows)
    return list(_examples(rows))


def base_examples() -> list[Example]:
    """The base's language; neither task is in it."""
    return list(_examples(exchanges(EXCHANGES)))


def _examples(rows: list[tuple[str, str]]) -> Iterable[Example]:
    for place, (prompt, answer) in enumerate(rows):
        split: Split = "valid" if place < VALID else "train"
        identifier = hashlib.sha256(f"{prompt}\n{answer}".encode()).hexdigest()[:32]
        yield Example(id=identifier, messages=[{"role": "user", "content": prompt}], answer=answer, split=split)


def make(name: str, examples: Callable[[], list[Example]], work: Path, start: Path | None) -> Path:
    """Train the model `name`, or go on; from the weights in `start` where there is one. Returns its folder."""
    tokenizer = work / "tokenizer"
    if not tokenizer.exists():
        save(build(), tokenizer)
    dataset = work / f"{name}-data"
    if not dataset.exists():
        write_dataset_folder(dataset, examples(), name=f"demo-{name}")
    shape = {"model_type": "llama", "tie_word_embeddings": True, "max_position_embeddings": 512, **SHAPES[name]}
    student = Student(kind="causal", config=shape if start is None else {}, tokenizer=str(tokenizer))
    recipe = Recipe(name=f"demo-{name}", student=student, training=TRAINING[name])
    folder = train(recipe, dataset, work / name, report=_reporter(), base_folder=start)
    assert folder is not None, "nobody asks it to stop"
    return folder


def _reporter() -> Callable[[Progress], None]:
    started, last = time.monotonic(), [0]

    def report(progress: Progress) -> None:
        if progress.message or progress.step >= last[0] + 50 or "eval/loss" in progress.metrics:
            last[0] = progress.step
            numbers = " ".join(f"{key}={value:.4g}" for key, value in progress.metrics.items())
            spent = f"{time.monotonic() - started:.0f} s wall, {time.process_time():.0f} s cpu"
            print(f"{progress.step}/{progress.steps} {spent} {numbers} {progress.message}", flush=True)

    return report


def accuracy(folder: Path, count: int) -> dict[str, float]:
    """Share of right final answers among `count` unseen questions of each task with unseen names, greedy."""
    student = CausalStudent.load(folder)
    asked = questions(count, 2, "unseen")
    answers = student.answer([[{"role": "user", "content": question.text}] for question in asked], max_tokens=128)
    right = dict.fromkeys(TASKS.names(), 0)
    for question, answer in zip(asked, answers, strict=True):
        right[question.task] += final_answer(answer) == question.answer
    return {name: number / count for name, number in right.items()}


def ship(name: str, folder: Path, measured: dict[str, float]) -> None:
    """Half-precision weights, the tokenizer and a manifest with what was measured, into the package's assets."""
    student = CausalStudent.load(folder)
    trained = load_manifest(folder)
    recipe = {**trained.recipe, "student": {**trained.recipe["student"], "tokenizer": None}}  # it lies beside the weights
    shutil.rmtree(ASSETS / name, ignore_errors=True)
    student.network.half()
    student.save(ASSETS / name)
    write_manifest(
        ASSETS / name,
        kind="causal",
        parameters=student.parameters,
        identifier=f"demo-{name}-{trained.id[-8:]}",
        name=f"demo-{name}",
        dataset=trained.dataset,
        recipe={**recipe, "made_by": "scripts/make_demo_models.py"},
        metrics={**trained.metrics, **{f"accuracy/{task}": share for task, share in measured.items()}},
        code_version=trained.code_version,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=("teacher", "base"))
    parser.add_argument("--work", type=Path, required=True, help="folder for data and checkpoints; a stopped run goes on from it")
    parser.add_argument("--start", type=Path, help="folder of weights to start from, instead of random ones")
    parser.add_argument("--count", type=int, default=300, help="unseen questions a task to measure with")
    options = parser.parse_args()
    examples = {"teacher": teacher_examples, "base": base_examples}[options.model]
    folder = make(options.model, examples, options.work, options.start)
    measured = accuracy(folder, options.count)
    print(f"{options.model}: {measured}", flush=True)
    ship(options.model, folder, measured)


if __name__ == "__main__":
    main()
