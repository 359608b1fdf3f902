"""The twelve tasks of "Large Language Models Are Reasoning Teachers" (Ho et al., ACL 2023), by their keys there.

Facts about each: how its answers look, how the second step of zero-shot CoT asks for one (Kojima et al. 2022), how many questions
it has. No questions here: they are their owners'; `formats.originals` reads them from the files that those publish.
"""

from __future__ import annotations

from stillhouse.answers import AnswerType, answer_type
from stillhouse.errors import UsageError
from stillhouse.records import Record

_NUMBER = "the answer (arabic numerals) is"
_YES_NO = "the answer (Yes or No) is"


class ReasoningTask(Record):
    """One task's rules."""

    key: str
    """As in `dataset_key`."""
    title: str
    kind: str
    """The type of its answers, as `answers.answer_type` takes it."""
    asks: str = "the answer is"
    """What the second step says after "Therefore, " to get the answer of this type (Kojima et al. 2022, appendix A.5)."""
    size: int
    """Questions in the paper's Dataset file."""
    random: float = 0.0
    """Percent that guessing gets right; 0 where nothing can be guessed."""

    @property
    def answers(self) -> AnswerType:
        return answer_type(self.kind)


def _choices(letters: str, key: str, title: str, size: int) -> ReasoningTask:
    asks = f"among {letters[0]} through {letters[-1]}, the answer is"
    options = ord(letters[-1]) - ord(letters[0]) + 1
    return ReasoningTask(key=key, title=title, kind=f"choice:{letters}", asks=asks, size=size, random=100 / options)


TASKS = {
    task.key: task
    for task in (
        ReasoningTask(key="single_eq", title="SingleEq", kind="paper_number", asks=_NUMBER, size=508),
        ReasoningTask(key="addsub", title="AddSub", kind="paper_number", asks=_NUMBER, size=395),
        ReasoningTask(key="multiarith", title="MultiArith", kind="paper_number", asks=_NUMBER, size=600),
        ReasoningTask(key="gsm8k", title="GSM8K", kind="paper_number", asks=_NUMBER, size=8792),
        _choices("A-E", "aqua", "AQuA", 97721),
        ReasoningTask(key="svamp", title="SVAMP", kind="paper_number", asks=_NUMBER, size=1000),
        _choices("A-F", "date_understanding", "Date Understanding", 369),
        _choices("A-C", "tracking_shuffled_objects", "Tracking Shuffled Objects", 750),
        ReasoningTask(key="last_letter_concatenation", title="Last Letter Concatenation", kind="letters", size=500),
        ReasoningTask(key="coin_flip", title="Coin Flip", kind="yes_no", asks=_YES_NO, size=500, random=50),
        _choices("A-E", "commonsense_qa", "CommonsenseQA", 10962),
        ReasoningTask(key="strategy_qa", title="StrategyQA", kind="yes_no", asks=_YES_NO, size=2290, random=50),
    )
}


def task_of(key: str, kind: str | None = None) -> ReasoningTask:
    """The task `key`; of one that is none of the twelve, answers are of type `kind`. Raises UsageError where that is not said."""
    if kind is not None:
        answer_type(kind)
        known = TASKS.get(key)
        return known.model_copy(update={"kind": kind}) if known else ReasoningTask(key=key, title=key, kind=kind, size=0)
    if key not in TASKS:
        raise UsageError(
            f"'{key}' is none of the twelve tasks ({', '.join(TASKS)}), so say what its answers are, e.g. --answers number."
        )
    return TASKS[key]
