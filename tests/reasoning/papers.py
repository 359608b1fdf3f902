"""Invented completions in the paper's files: of the six tasks whose files are not here, and what is right by which rule."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple


class Said(NamedTuple):
    completion: str
    gold: str
    published: bool
    numeric: bool


OTHER_TASKS: dict[str, list[Said]] = {
    "addsub": [
        Said(" 22.58.", "22.58", True, True),
        Said(" \n\n0.8333333333333334", "0.8333333333333334", True, True),
        Said(" 0.9166666666666667 tarts.", "0.9166666666666666", False, True),
        Said(" 0.83.", "0.8333333333333334", False, False),
        Said(" 3/6 loads.", "0.5", False, False),
        Said(" $ 14.50, not $ 12.", "14.5", False, True),
        Said(" none.", "0", False, False),
        Said(": 59", "59", True, True),
    ],
    "single_eq": [
        Said(" 1,250 pages.", "1250", True, True),
        Said(" 1250.", "1,250", False, True),
        Said(" -7 degrees", "-7", True, True),
        Said(" 7", "-7", False, False),
        Said(" 12.0", "12", False, True),
        Said(" 3, 4 or 5", "3", True, True),
        Said(" $2.75.", "2.75", True, True),
    ],
    "svamp": [
        Said(" 145 apples (and 12 pears).", "145", True, True),
        Said(" 12 + 3 = 15.", "15", False, False),
        Said(" 8.", "8.0", False, True),
        Said(" 1,000,000", "1000000", True, True),
        Said("10-5", "10", True, True),
    ],
    "aqua": [
        Said(" (B).", "B", True, True),
        Said(" either C or D", "C", True, True),
        Said(" Answer: E", "E", False, False),  # the capital of "Answer" is the first candidate, in the paper's rule too
        Said(" 35", "A", False, False),
        Said(" (F)", "F", False, False),  # no choice of this task
    ],
    "date_understanding": [
        Said(" (F) 05/01/2021", "F", True, True),
        Said(" F.", "F", True, True),
        Said(" 05/01/2021, which is (C)", "C", True, True),
        Said(" G", "F", False, False),
    ],
    "tracking_shuffled_objects": [
        Said(" (C).", "C", True, True),
        Said(" the right winger, (A)", "A", True, True),
        Said(" (D) or (B)", "B", True, True),
        Said(" Bob has it: (C)", "C", False, False),  # the capital of a name is the first candidate
        Said("", "A", False, False),
    ],
}


def write_paper(root: Path, *, bare: bool = False, key: str = "zs_cot", tasks: dict[str, list[Said]] = OTHER_TASKS) -> Path:
    """A folder in the paper's layout; `bare`: without `data/` and `saved/`. Stored "predictions" are lies."""
    for task, said in tasks.items():
        samples, data = [], {}
        for index, one in enumerate(said):
            question = f"Question {index} of {task}?"
            samples.append({"sample_index": index, "question": question, "answer": one.gold})
            row = completion_row(index, question, one.gold, one.completion)
            data[str(index)] = [{**row, "prediction": one.gold, "correct": True}]
        metadata = {"dataset_key": task, "base_model": "text-davinci-002", "completion_key": key, "prediction_template": "zs_cot"}
        place = Path() if bare else Path("saved")
        file = root / place / "completion_data" / f"B_text-davinci-002__C_{key}" / f"D_{task}.json"
        write(file, {"metadata": metadata, "data": data})
        dataset = {"metadata": {"dataset_key": task}, "data": samples}
        write(root / (Path() if bare else Path("data")) / "dataset" / f"{task}.json", dataset)
    return root


def completion_row(
    index: int, question: str, answer: str, completion: str, *, reasoning: str = "", number: int = 0
) -> dict[str, Any]:
    prompt = f"Q: {question}\nA: Let's think step by step."
    steps = reasoning or f"\n\nFirst this, then that, for {index}. "
    return {
        "sample_index": index,
        "completion_index": number,
        "question": question,
        "answer": answer,
        "reasoning_prompt": prompt,
        "reasoning_completion": steps,
        "prompt": f"{prompt}{steps}\nTherefore, the answer is",
        "completion": completion,
    }


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=4), encoding="utf-8")
