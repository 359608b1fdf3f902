"""What is measured: right answers to the test questions, of one model, of its majority, after worked examples, of nobody."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from rationales.bench import Bench, say
from rationales.questions import asked
from stillhouse.artifacts import load_manifest
from stillhouse.curation.rationales import read_rationales
from stillhouse.curation.rationales import right as is_right
from stillhouse.curation.rationales.choosing import choose
from stillhouse.dataset import Dataset
from stillhouse.evaluation import Candidate, Plan, evaluate
from stillhouse.explaining import Method
from stillhouse.formats.examples import read_examples
from stillhouse.formats.reasoning_teacher.layout import completion_files
from stillhouse.jobs.rationales import Wish, generate
from stillhouse.reasoning import task_of
from stillhouse.reasoning.templates import place_of
from stillhouse.self_consistency import SelfConsistent
from stillhouse.workspace import Workspace

VOTES = 8
"""Answers a question, where the majority counts."""
SHOWN = 3
"""Worked examples before a few-shot question."""


def answers_of(bench: Bench, dataset: Dataset, model: str, *, role: str, samples: int = 1) -> dict[str, Any]:
    """Answers to the test questions, greedy or voted for."""
    with bench.workspace() as workspace:
        correct, n = asyncio.run(_asked(bench, workspace, dataset, model, role, samples))
        parameters = load_manifest(workspace.model_folder(model)).parameters
    return {"task": bench.key, "role": role, "model": model, "n": n, "correct": correct, "parameters": parameters}


async def _asked(bench: Bench, workspace: Workspace, dataset: Dataset, model: str, role: str, samples: int) -> tuple[int, int]:
    """Right answers, and questions."""
    task = task_of(bench.key)
    target = workspace.target(model)
    examples = read_examples(workspace.dataset_folder(dataset.fingerprint), "test")
    heat = 0.0 if samples == 1 else 0.7
    plan = Plan(name=bench.key, dataset=dataset.fingerprint, max_tokens=120, concurrency=16, samples=samples, temperature=heat)
    answering = SelfConsistent(target.model, task.answers, place_of("chat")) if samples > 1 else target.model
    try:
        graders = [workspace.grader(f"answer:{task.kind}")]
        report, _ = await evaluate(plan, [Candidate(role, target.name, answering, local=True)], examples, graders)
    finally:
        await target.model.close()
    share = next(iter(report.results[0].accuracy.values())).value
    return round(share * len(examples)), len(examples)


def voted(bench: Bench, dataset: Dataset, student: Path, d: int, seed: int) -> dict[str, Any]:
    """Self-consistency: the majority of sampled answers."""
    figures = answers_of(bench, dataset, str(student), role="student", samples=VOTES)
    return {**figures, "d": d, "seed": seed, "decoding": f"majority of {VOTES}"}


def few_shot(bench: Bench, model: str) -> dict[str, Any]:
    """Greedy answers of an untrained model after worked examples: the first questions of the train split, explained."""
    folder, key = bench.folder, bench.key
    known = [each for each in read_rationales(next(completion_files(folder)), folder).rationales if is_right(each)]
    worked = [each for each in choose(known, 1) if int(each.sample) < bench.options.questions][:SHOWN]
    text = "\n\n".join(f"Q: {each.question}\nA: {each.completion}" for each in worked) + "\n"
    place = folder / "few-shot"
    method = Method(name="fs_cot", examples=text, temperature=0.0)
    wish = Wish(source=str(folder), model=model, to=place, task=key, split="default", part="test", method=method, concurrency=16)
    with bench.workspace() as workspace:
        made = asyncio.run(generate(workspace, wish, say(f"{key} few-shot")))
        parameters = load_manifest(workspace.model_folder(model)).parameters
    correct = sum(is_right(each) for each in read_rationales(made.path, folder).rationales)
    return {
        "task": key, "role": "few-shot", "model": model, "n": made.questions, "correct": correct, "parameters": parameters
    }  # fmt: skip


def majority(bench: Bench) -> dict[str, Any]:
    """The commonest answer of the questions to learn from, given to every test question."""
    gold = Counter(question.answer for question in asked(bench.key, bench.options.questions, "learn"))
    answers = [question.answer for question in asked(bench.key, bench.options.tests, "unseen")]
    commonest = gold.most_common(1)[0][0]
    return {"task": bench.key, "role": "majority", "model": commonest, "n": len(answers), "correct": answers.count(commonest)}
