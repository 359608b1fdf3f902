"""What is learnt from: questions about names, the teacher's rationales for them, and dataset versions of D rationales each."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any

from rationales.bench import TEACHER, Bench, say
from stillhouse.curation.rationales import read_rationales
from stillhouse.curation.rationales import right as is_right
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.curation.rationales.choosing import Choice, choose
from stillhouse.curation.rationales.diversity import diversity
from stillhouse.curation.rationales.preparing import prepare
from stillhouse.dataset import Dataset
from stillhouse.explaining import Method
from stillhouse.formats.originals.base import Pair
from stillhouse.formats.reasoning_teacher.layout import completion_files, write_split
from stillhouse.jobs.rationale_versions import Making, import_rationales
from stillhouse.jobs.rationales import Wish, generate
from stillhouse.tasks import TASKS
from stillhouse.tasks.base import Question
from stillhouse.tasks.words import Pool

GENERATORS = {"coin_flip": "coin_flip", "last_letter_concatenation": "last_letters"}
"""The paper's key -> the generator whose wording the teacher knows."""
LONGEST = 3
"""Names a question has at most."""


def asked(key: str, count: int, pool: Pool) -> list[Question]:
    """Questions of at most `LONGEST` names."""
    found = TASKS.resolve(GENERATORS[key])(6 * count, 0, pool)
    return list(islice((each for each in found if len(each.names) <= LONGEST), count))


async def explain(bench: Bench) -> None:
    """The task's questions in the paper's layout, and the teacher's rationales for those of the train split."""
    folder, key, options = bench.folder, bench.key, bench.options
    questions = [*asked(key, options.questions, "learn"), *asked(key, options.tests, "unseen")]
    if not (folder / "split").exists():
        prepare(key, [Pair(each.text, each.answer) for each in questions], folder)
        sides = {"train": list(range(options.questions)), "test": list(range(options.questions, len(questions)))}
        write_split(folder, key, sides)
    if any(completion_files(folder)) if (folder / "completion_data").exists() else False:
        return
    method = Method(name="plain", samples=options.samples, temperature=options.heat, seed=0)
    wish = Wish(source=str(folder), model=TEACHER, to=folder, task=key, split="default", method=method, concurrency=16)
    with bench.workspace() as workspace:
        made = await generate(workspace, wish, say(f"{key} rationales"))
    assert not made.left_out, made.left_out


def version(bench: Bench, d: int, how: Choice = "first") -> tuple[Dataset, dict[str, Any]]:
    """The dataset with D rationales a question, and how different they are."""
    reading = read_rationales(next(completion_files(bench.folder)), bench.folder)
    sieves = [kinds.complete, kinds.right_answer()]
    with bench.workspace() as workspace:
        made = asyncio.run(import_rationales(workspace, bench.key, [reading], bench.folder, sieves, Making(d=d, how=how)))
    right = [each for each in reading.rationales if is_right(each)]
    taken = choose(right, d, how)
    texts = {(each.sample, " ".join(each.reasoning.split())) for each in taken}
    return made, {**diversity(taken).model_dump(), "taken": len(taken), "different": len(texts)}
