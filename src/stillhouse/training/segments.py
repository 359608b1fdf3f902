"""Black-box training on parts of an answer: weights for rationale and answer, the answer alone, or each as a task of its own.

Which characters are which part is `reasoning.parts`'; here they become tokens' shares, and collating multiplies those in.
Distilling step-by-step (Hsieh et al. 2023) makes two texts of an example, the label and its rationale, told apart by a prefix;
the second is the partner of the first, so no micro-batch holds half of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stillhouse.chat import Message
from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.generation import text_of
from stillhouse.method import BlackBox, StepByStep
from stillhouse.reasoning.parts import parts_of
from stillhouse.students.base import Trainable
from stillhouse.students.prefixing import ask_with, ask_without
from stillhouse.tensors import Encoded


def encode_parts(student: Trainable, examples: Sequence[Example], method: BlackBox, *, max_tokens: int) -> list[Encoded]:
    """Examples as numbers, in order, as `method` weighs their parts.

    Raises RecipeError for a student that gives labels where parts are to be weighed, and what `Trainable.encode` raises.
    """
    if student.row_labels is not None and (method.weighed or method.step_by_step is not None):
        raise RecipeError(
            "The parts of an answer are for students that write, and one of kind "
            f"'{student.kind}' gives labels. Leave rationale_weight, answer_weight and step_by_step out of [method]."
        )
    if method.step_by_step is not None:
        return _two_tasks(student, examples, method.step_by_step, max_tokens)
    if not method.rationale:
        examples = [_answering(example, parts_of(example).final) for example in examples]
    rows = student.encode(examples, max_tokens=max_tokens)
    return _weighed(student, examples, rows, method) if method.weighed else rows


def _weighed(student: Trainable, examples: Sequence[Example], rows: Sequence[Encoded], method: BlackBox) -> list[Encoded]:
    """A token that reaches into the statement is of the statement."""
    found = []
    for row, example in zip(rows, examples, strict=True):
        border = len(parts_of(example).rationale)
        before = sum(end <= border for end in _ends(student, example.answer))
        shares = (method.rationale_weight,) * before + (method.answer_weight,) * (row.rows - before)
        found.append(replace(row, shares=shares))
    return found


def _ends(student: Trainable, text: str) -> list[int]:
    """Where each token of a text ends, in characters. Raises RecipeError for tokenizers that do not tell."""
    if not getattr(student.tokenizer, "is_fast", False):
        raise RecipeError("This tokenizer does not tell where its tokens stand in a text: leave the weights out of [method].")
    offsets = student.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [end for _, end in offsets]


def _two_tasks(student: Trainable, examples: Sequence[Example], method: StepByStep, longest: int) -> list[Encoded]:
    ask_without(student, method.label_prefix)  # a base that was taught so
    parts = [parts_of(example) for example in examples]
    labels = [
        _answering(_prefixed(example, method.label_prefix), its.final) for example, its in zip(examples, parts, strict=True)
    ]
    reasoned = [number for number, its in enumerate(parts) if its.rationale.strip() and method.weight > 0]
    rationales = [_answering(_prefixed(examples[at], method.rationale_prefix), parts[at].rationale.rstrip()) for at in reasoned]
    rows = [_mean(row, 1.0) for row in student.encode(labels, max_tokens=longest)]
    for at, row in zip(reasoned, student.encode(rationales, max_tokens=longest), strict=True):
        rows[at] = replace(rows[at], partner=_mean(row, method.weight))
    ask_with(student, method.label_prefix)
    return rows


def _mean(row: Encoded, weight: float) -> Encoded:
    """All of its tokens together count `weight`."""
    return replace(row, shares=(weight / row.rows,) * row.rows)


def _answering(example: Example, answer: str) -> Example:
    return example.model_copy(update={"answer": answer})


def _prefixed(example: Example, prefix: str) -> Example:
    """The prefix before the last user message."""
    at = max((number for number, message in enumerate(example.messages) if message.get("role") == "user"), default=None)
    if at is None:
        raise RecipeError(f"The example {example.id} has no user message to put the prefix '{prefix}' before.")
    message: Message = {**example.messages[at], "content": prefix + text_of(example.messages[at])}
    return example.model_copy(update={"messages": [*example.messages[:at], message, *example.messages[at + 1 :]]})
