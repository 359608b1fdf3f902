"""D rationales a question against the answer alone: coin flip and last letters, from the demo's teacher to a small student.

    nice python benchmarks/reasoning.py [--questions 100] [--tests 200] [--steps 700] [--seeds 3] [--work work-reasoning] [--json]

The whole path, by the verbs that the command line calls: questions about names that the teacher was not trained with, eight
sampled rationales each (`cot generate`), those that come to the right answer (`cot import`, the first D of them), a student from
`builtin:base` by the ordinary trainer, and greedy answers to questions about names of a third pool, graded by the task's type of
answers. The answer-only student has the same questions, base, steps and batches, and learns the final answers. What is done
already lies in the work folder: a run that was cut off goes on, and a second call only prints. `stillhouse cot report
WORK/measures.jsonl --svg FILE` makes the table with intervals and the plot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from stillhouse.curation.rationales import read_rationales
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.curation.rationales.choosing import choose
from stillhouse.curation.rationales.diversity import diversity
from stillhouse.curation.rationales.preparing import prepare
from stillhouse.dataset import Dataset
from stillhouse.evaluation import Candidate, Plan, evaluate
from stillhouse.explaining import Method
from stillhouse.formats.examples import read_examples
from stillhouse.formats.originals.base import Pair
from stillhouse.formats.reasoning_teacher.layout import completion_files, write_split
from stillhouse.jobs.rationale_versions import Making, import_rationales
from stillhouse.jobs.rationales import Wish, generate
from stillhouse.method import BlackBox
from stillhouse.reasoning import task_of
from stillhouse.recipe import Recipe, Student, Training
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
HEAT = 1.0


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
        rows += list(_runs(work, folder, key, options))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (work / "measures.jsonl").write_text(lines, encoding="utf-8")
    print(lines if options.json else _table(rows))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(GENERATORS))
    parser.add_argument("--questions", type=int, default=100, help="to learn from, a task")
    parser.add_argument("--tests", type=int, default=200, help="questions a task")
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
    method = Method(name="plain", samples=max(RATIONALES), temperature=HEAT, seed=0)
    wish = Wish(source=str(folder), model=TEACHER, to=folder, task=key, split="default", method=method, concurrency=16)
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    try:
        made = await generate(workspace, wish, _say(f"{key} rationales"))
    finally:
        workspace.close()
    assert not made.left_out, made.left_out


def _dataset(work: Path, folder: Path, key: str, d: int) -> tuple[Dataset, dict[str, Any]]:
    """The version with D rationales a question, and how different they are."""
    reading = read_rationales(next(completion_files(folder)), folder)
    sieves = [kinds.complete, kinds.right_answer()]
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    try:
        made = asyncio.run(import_rationales(workspace, key, [reading], folder, sieves, Making(d=d)))
    finally:
        workspace.close()
    right = [each for each, why in zip(reading.rationales, kinds.right_answer()(reading.rationales), strict=True) if why is None]
    taken = choose(right, d)
    texts = {(each.sample, " ".join(each.reasoning.split())) for each in taken}
    return made, {**diversity(taken).model_dump(), "taken": len(taken), "different": len(texts)}


# -- students ---------------------------------------------------------------------------------------------------------------


def _runs(work: Path, folder: Path, key: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The teacher, then by seed the answer-only student and one for each D."""
    first, _ = _dataset(work, folder, key, 1)
    yield _kept(folder / "teacher.json", lambda: _figures(work, key, first, TEACHER, role="teacher"))
    for seed in range(options.seeds):
        for d in (0, *RATIONALES):
            dataset, different = _dataset(work, folder, key, d or 1)
            place = folder / f"runs-{options.steps}" / f"d{d}-seed{seed}"
            yield _kept(
                place / "measure.json",
                lambda d=d, seed=seed, dataset=dataset, different=different, place=place: {  # type: ignore[misc]
                    **_trained(work, key, dataset, place, d, seed, options),
                    **({"diversity": different} if d else {}),
                },
            )


def _kept(path: Path, make: Any) -> dict[str, Any]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(make()), encoding="utf-8")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _trained(
    work: Path, key: str, dataset: Dataset, place: Path, d: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    recipe = Recipe(
        name=f"{key}-d{d}-{seed}",
        student=Student(kind="causal", base=BASE),
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
    base, data = workspace.model_folder(BASE), workspace.dataset_folder(dataset.fingerprint)
    began = time.process_time()
    say = _say(recipe.name)
    student = train(recipe, data, place, base_folder=base, report=lambda progress: say(progress.step, progress.steps))
    assert student is not None
    seconds = time.process_time() - began
    role = "student" if d else "answer-only"
    rows = dataset.counts["train"]
    return {**_figures(work, key, dataset, str(student), role=role), "d": d or None, "seed": seed, "rows": rows, "cpu": seconds}


def _figures(work: Path, key: str, dataset: Dataset, model: str, *, role: str) -> dict[str, Any]:
    """Greedy answers to the test questions."""
    task = task_of(key)
    workspace = Workspace(Settings(data_dir=work / key / "data"))
    target = workspace.target(model)
    examples = read_examples(workspace.dataset_folder(dataset.fingerprint), "test")
    plan = Plan(name=key, dataset=dataset.fingerprint, max_tokens=120, concurrency=16)

    async def ask() -> Any:
        try:
            graders = [workspace.grader(f"answer:{task.kind}")]
            return await evaluate(plan, [Candidate(role, target.name, target.model, local=True)], examples, graders)
        finally:
            await target.model.close()

    report, _ = asyncio.run(ask())
    share = next(iter(report.results[0].accuracy.values())).value
    from stillhouse.artifacts import load_manifest

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


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Mean accuracy of the seeds."""
    lines = ["| task | student | accuracy, by seed | mean | rationales learnt from | distance |", "|---|---|---|---|---|---|"]
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["role"], row.get("d") or 0), []).append(row)
    for (task, role, d), mine in groups.items():
        shares = [row["correct"] / row["n"] for row in mine]
        name = f"D = {d}" if d else role
        seeds = ", ".join(f"{share:.1%}" for share in shares)
        different = mine[0].get("diversity", {})
        distance = f"{different['distance']:.2f}" if different.get("questions") else "-"
        lines.append(f"| {task} | {name} | {seeds} | {sum(shares) / len(shares):.1%} | {mine[0].get('rows', '-')} | {distance} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
