"""D rationales a question against the answer alone: coin flip and last letters, from the demo's teacher to a small student.

    nice python benchmarks/reasoning.py [--questions 100] [--tests 200] [--steps 700] [--seeds 3] [--work work-reasoning] [--json]
    nice python benchmarks/reasoning.py --layers 1,2,4 --d 0,4          # the same by size of the student: sizes.jsonl
    nice python benchmarks/reasoning.py --heat 1.5 --samples 32 --choose different --d 1,4,8 --work work-hot

The whole path, by the verbs that the command line calls: questions about names that the teacher was not trained with, eight
sampled rationales each (`cot generate`), those that come to the right answer (`cot import`, the first D of them), a student from
`builtin:base` by the ordinary trainer, and greedy answers to questions about names of a third pool, graded by the task's type of
answers. The answer-only student has the same questions, base, steps and batches, and learns the final answers; few-shot is base
and teacher, untrained, after `SHOWN` worked examples. What is done already lies in the work folder: a run that was cut off goes
on, and a second call only prints. `stillhouse cot report WORK/measures.jsonl --svg FILE` makes the table with intervals and the
plot.

Students of several sizes begin with bases of as many layers, each made of `builtin:base`'s two (each once, one alone, or each
twice) and trained for `HEALING` further steps on its language, so that the one that lost a layer or got two speaks, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from stillhouse.artifacts import load_manifest
from stillhouse.curation.rationales import read_rationales
from stillhouse.curation.rationales import right as is_right
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.curation.rationales.choosing import CHOICES, Choice, choose
from stillhouse.curation.rationales.diversity import diversity
from stillhouse.curation.rationales.preparing import prepare
from stillhouse.dataset import Dataset, Example
from stillhouse.evaluation import Candidate, Plan, evaluate
from stillhouse.explaining import Method
from stillhouse.formats.examples import read_examples, write_dataset_folder
from stillhouse.formats.originals.base import Pair
from stillhouse.formats.reasoning_teacher.layout import completion_files, write_split
from stillhouse.jobs.rationale_versions import Making, import_rationales
from stillhouse.jobs.rationales import Wish, generate
from stillhouse.method import BlackBox
from stillhouse.reasoning import task_of
from stillhouse.reasoning.templates import place_of
from stillhouse.recipe import Initialisation, Recipe, Student, Training
from stillhouse.self_consistency import SelfConsistent
from stillhouse.settings import Settings
from stillhouse.tasks import TASKS
from stillhouse.tasks.base import Question
from stillhouse.tasks.words import Pool
from stillhouse.training import train
from stillhouse.workspace import Workspace

TEACHER, BASE = "builtin:teacher", "builtin:base"
GENERATORS = {"coin_flip": "coin_flip", "last_letter_concatenation": "last_letters"}
"""The paper's key -> the generator whose wording the teacher knows."""
RATIONALES = (1, 2, 4, 8)
LONGEST = 3
"""Names a question has at most."""
VOTES = 8
"""Answers a question, where the majority counts."""
SHOWN = 3
"""Worked examples before a few-shot question."""
HEALING = 200
"""Steps of 48 exchanges."""
KEPT = ("parameters", "d", "seed", "decoding", "rows")


def main() -> int:
    """Do what is missing, print the table."""
    options = _options()
    import torch

    torch.set_num_threads(1)
    work = Path(options.work)
    rows = []
    for key in options.tasks.split(","):
        folder = work / key
        asyncio.run(_explained(work, folder, key, options))
        rows += list(_sizes(work, folder, key, options) if options.layers else _runs(work, folder, key, options))
    lines = "".join(json.dumps(_measure(row)) + "\n" for row in rows)
    (work / ("sizes.jsonl" if options.layers else "measures.jsonl")).write_text(lines, encoding="utf-8")
    print(lines if options.json else _table(rows))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(GENERATORS))
    parser.add_argument("--questions", type=int, default=100, help="to learn from, a task")
    parser.add_argument("--tests", type=int, default=200, help="questions a task")
    parser.add_argument("--choose", choices=CHOICES, default="first", help="which D of the right rationales")
    parser.add_argument("--d", default=",".join(map(str, (0, *RATIONALES))), help="rationales a question; 0: the answer alone")
    parser.add_argument("--samples", type=int, default=max(RATIONALES), help="rationales the teacher is asked for")
    parser.add_argument("--heat", type=float, default=1.0, help="the teacher's temperature")
    parser.add_argument("--layers", default="", help="students of so many layers each, e.g. 1,2,4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=4e-3)
    parser.add_argument("--work", default="work-reasoning")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


# -- what is learnt from ----------------------------------------------------------------------------------------------------


def _asked(key: str, count: int, pool: Pool) -> list[Question]:
    """Questions of at most `LONGEST` names."""
    found = TASKS.resolve(GENERATORS[key])(6 * count, 0, pool)
    return list(islice((each for each in found if len(each.names) <= LONGEST), count))


async def _explained(work: Path, folder: Path, key: str, options: argparse.Namespace) -> None:
    """The task's questions in the paper's layout, and the teacher's rationales for those of the train split."""
    asked = [*_asked(key, options.questions, "learn"), *_asked(key, options.tests, "unseen")]
    if not (folder / "split").exists():
        prepare(key, [Pair(each.text, each.answer) for each in asked], folder)
        sides = {"train": list(range(options.questions)), "test": list(range(options.questions, len(asked)))}
        write_split(folder, key, sides)
    if any(completion_files(folder)) if (folder / "completion_data").exists() else False:
        return
    method = Method(name="plain", samples=options.samples, temperature=options.heat, seed=0)
    wish = Wish(source=str(folder), model=TEACHER, to=folder, task=key, split="default", method=method, concurrency=16)
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    try:
        made = await generate(workspace, wish, _say(f"{key} rationales"))
    finally:
        workspace.close()
    assert not made.left_out, made.left_out


def _dataset(work: Path, folder: Path, key: str, d: int, how: Choice = "first") -> tuple[Dataset, dict[str, Any]]:
    """The version with D rationales a question, and how different they are."""
    reading = read_rationales(next(completion_files(folder)), folder)
    sieves = [kinds.complete, kinds.right_answer()]
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    try:
        made = asyncio.run(import_rationales(workspace, key, [reading], folder, sieves, Making(d=d, how=how)))
    finally:
        workspace.close()
    right = [each for each in reading.rationales if is_right(each)]
    taken = choose(right, d, how)
    texts = {(each.sample, " ".join(each.reasoning.split())) for each in taken}
    return made, {**diversity(taken).model_dump(), "taken": len(taken), "different": len(texts)}


# -- students ---------------------------------------------------------------------------------------------------------------


def _runs(work: Path, folder: Path, key: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Teacher, base and the most frequent answer; by seed the answer-only student, one for each D, the last by votes, too."""
    first, _ = _dataset(work, folder, key, 1)
    yield _kept(folder / "teacher.json", lambda: _figures(work, key, first, TEACHER, role="teacher"))
    yield _kept(folder / "base.json", lambda: _figures(work, key, first, BASE, role="base"))
    for role, model in (("teacher", TEACHER), ("base", BASE)):
        place = folder / f"few-shot-{role}.json"
        yield _kept(place, lambda role=role, model=model: _few_shot(work, folder, key, model, options))
    yield _majority(key, options)
    for seed in range(options.seeds):
        for d in map(int, options.d.split(",")):
            dataset, different = _dataset(work, folder, key, d or 1, options.choose)
            place = folder / _batch(options) / f"d{d}-seed{seed}"
            yield _kept(
                place / "measure.json",
                lambda d=d, seed=seed, dataset=dataset, different=different, place=place: {
                    **_trained(work, key, dataset, place, d, seed, options),
                    **({"diversity": different} if d else {}),
                },
            )
        last = folder / _batch(options) / f"d{max(RATIONALES)}-seed{seed}"
        if (last / "student").exists():
            yield _kept(last / "voted.json", lambda last=last, seed=seed: _voted(work, key, first, last, seed))


def _sizes(work: Path, folder: Path, key: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """By layers, D and seed one student each."""
    for layers in map(int, options.layers.split(",")):
        base = _base(work, layers)
        for d in map(int, options.d.split(",")):
            dataset, _ = _dataset(work, folder, key, d or 1, options.choose)
            for seed in range(options.seeds):
                place = folder / _batch(options) / f"layers{layers}-d{d}-seed{seed}"
                yield _kept(
                    place / "measure.json",
                    lambda base=base, d=d, seed=seed, dataset=dataset, place=place: _trained(
                        work, key, dataset, place, d, seed, options, base
                    ),
                )


def _base(work: Path, layers: int) -> Path:
    """`builtin:base` with `layers` layers, each a copy of one of its two, trained on: the folder of its weights."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
    from base_language import exchanges

    place = work / f"base-{layers}"
    data = place / "data"
    if not data.exists():
        rows = exchanges(48 * HEALING)
        examples = [
            Example(id=f"{number}", messages=[{"role": "user", "content": asked}], answer=answer, split="train")
            for number, (asked, answer) in enumerate(rows)
        ]
        write_dataset_folder(data, examples, name="base-language")
    copied = tuple(2 * layer // layers for layer in range(layers))
    recipe = Recipe(
        name=f"base-{layers}",
        student=Student(kind="causal", init=Initialisation(layers=copied), config={"num_hidden_layers": layers}),
        training=Training(
            steps=HEALING, batch_size=48, learning_rate=2e-3, threads=1, checkpoint_every=200, evaluate_every=10**6
        ),
    )
    workspace = Workspace(Settings(data_dir=place / "workspace"))
    say = _say(recipe.name)
    teacher = workspace.model_folder(BASE)
    workspace.close()
    made = train(recipe, data, place, teacher_folder=teacher, report=lambda progress: say(progress.step, progress.steps))
    assert made is not None
    return made


def _few_shot(work: Path, folder: Path, key: str, model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Greedy answers of an untrained model after worked examples: the first questions of the train split, explained."""
    known = [each for each in read_rationales(next(completion_files(folder)), folder).rationales if is_right(each)]
    worked = [each for each in choose(known, 1) if int(each.sample) < options.questions][:SHOWN]
    text = "\n\n".join(f"Q: {each.question}\nA: {each.completion}" for each in worked) + "\n"
    place = folder / "few-shot"
    method = Method(name="fs_cot", examples=text, temperature=0.0)
    wish = Wish(source=str(folder), model=model, to=place, task=key, split="default", part="test", method=method, concurrency=16)
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    try:
        made = asyncio.run(generate(workspace, wish, _say(f"{key} few-shot")))
        parameters = load_manifest(workspace.model_folder(model)).parameters
    finally:
        workspace.close()
    correct = sum(is_right(each) for each in read_rationales(made.path, folder).rationales)
    return {
        "task": key, "role": "few-shot", "model": model, "n": made.questions, "correct": correct, "parameters": parameters
    }  # fmt: skip


def _batch(options: argparse.Namespace) -> str:
    """The folder of the runs of one kind."""
    return f"runs-{options.steps}" + ("" if options.choose == "first" else f"-{options.choose}")


def _majority(key: str, options: argparse.Namespace) -> dict[str, Any]:
    gold = Counter(question.answer for question in _asked(key, options.questions, "learn"))
    asked = [question.answer for question in _asked(key, options.tests, "unseen")]
    commonest = gold.most_common(1)[0][0]
    return {"task": key, "role": "majority", "model": commonest, "n": len(asked), "correct": asked.count(commonest)}


def _voted(work: Path, key: str, dataset: Dataset, place: Path, seed: int) -> dict[str, Any]:
    """Self-consistency: the majority of sampled answers."""
    figures = _figures(work, key, dataset, str(place / "student"), role="student", samples=VOTES)
    return {**figures, "d": max(RATIONALES), "seed": seed, "decoding": f"majority of {VOTES}"}


def _kept(path: Path, make: Any) -> dict[str, Any]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make()), encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _trained(
    work: Path,
    key: str,
    dataset: Dataset,
    place: Path,
    d: int,
    seed: int,
    options: argparse.Namespace,
    base: Path | None = None,
) -> dict[str, Any]:
    """A student of `base`, of the shipped one where none is named, and its answers."""
    recipe = Recipe(
        name=f"{key}-d{d}-{seed}",
        student=Student(kind="causal", base=str(base or BASE)),
        method=BlackBox(rationale=d > 0),
        training=Training(
            steps=options.steps,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            seed=seed,
            threads=1,
            checkpoint_every=250,
            evaluate_every=10**6,
        ),
    )
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    data = workspace.dataset_folder(dataset.fingerprint)
    base = base or workspace.model_folder(BASE)
    began = time.process_time()
    say = _say(recipe.name)
    student = train(recipe, data, place, base_folder=base, report=lambda progress: say(progress.step, progress.steps))
    assert student is not None
    seconds = time.process_time() - began
    role = "student" if d else "answer-only"
    rows = dataset.counts["train"]
    return {**_figures(work, key, dataset, str(student), role=role), "d": d or None, "seed": seed, "rows": rows, "cpu": seconds}


def _figures(work: Path, key: str, dataset: Dataset, model: str, *, role: str, samples: int = 1) -> dict[str, Any]:
    """Answers to the test questions, greedy or voted for."""
    task = task_of(key)
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    target = workspace.target(model)
    examples = read_examples(workspace.dataset_folder(dataset.fingerprint), "test")
    heat = 0.0 if samples == 1 else 0.7
    plan = Plan(name=key, dataset=dataset.fingerprint, max_tokens=120, concurrency=16, samples=samples, temperature=heat)
    asked = SelfConsistent(target.model, task.answers, place_of("chat")) if samples > 1 else target.model

    async def ask() -> Any:
        try:
            graders = [workspace.grader(f"answer:{task.kind}")]
            return await evaluate(plan, [Candidate(role, target.name, asked, local=True)], examples, graders)
        finally:
            await target.model.close()

    report, _ = asyncio.run(ask())
    share = next(iter(report.results[0].accuracy.values())).value
    parameters = load_manifest(workspace.model_folder(model)).parameters
    correct, n = round(share * len(examples)), len(examples)
    workspace.close()
    return {"task": key, "role": role, "model": model, "n": n, "correct": correct, "parameters": parameters}


def _say(name: str) -> Any:
    last = [0.0]

    def say(done: int, of: int) -> None:
        if time.monotonic() - last[0] > 20:
            last[0] = time.monotonic()
            print(f"{name} {done}/{of}", file=sys.stderr, flush=True)

    return say


# -- what is printed --------------------------------------------------------------------------------------------------------


def _measure(row: dict[str, Any]) -> dict[str, Any]:
    """As `cot report` reads it; where it lay on this machine is nobody's business."""
    named = row["role"] in ("teacher", "base", "few-shot", "majority")
    found = {name: row[name] for name in ("task", "role", "n", "correct", *KEPT) if row.get(name) is not None}
    distance = row.get("diversity", {}).get("distance") if row.get("diversity", {}).get("questions") else None
    return {**found, **({"model": row["model"]} if named else {}), **({} if distance is None else {"distance": distance})}


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean accuracy of the seeds."""
    heads = ("task", "student", "parameters", "accuracy, by seed", "mean", "rationales learnt from", "distance")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    groups: dict[tuple[str, str, int, int], list[dict[str, Any]]] = {}
    for row in rows:
        role = ", ".join([row["role"], *([row["decoding"]] if "decoding" in row else [])])
        groups.setdefault((row["task"], role, row.get("parameters") or 0, row.get("d") or 0), []).append(row)
    for (task, role, parameters, d), mine in groups.items():
        shares = [row["correct"] / row["n"] for row in mine]
        name = f"{role}, D = {d}" if d else role
        seeds = ", ".join(f"{share:.1%}" for share in shares)
        different = mine[0].get("diversity", {})
        distance = f"{different['distance']:.2f}" if different.get("questions") else "-"
        mean, size = sum(shares) / len(shares), f"{parameters:,}" if parameters else "-"
        lines.append(f"| {task} | {name} | {size} | {seeds} | {mean:.1%} | {mine[0].get('rows', '-')} | {distance} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
