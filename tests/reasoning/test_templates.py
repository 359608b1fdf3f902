"""The templates, character by character, as the paper's code has them."""

from __future__ import annotations

import pytest

from stillhouse.answers import answer_type, extract
from stillhouse.errors import UsageError
from stillhouse.reasoning import TASKS, TEMPLATES, task_of, template_of
from stillhouse.reasoning.templates import SHAPES, Shape, second_step

SAMPLE = {"question": " Two and two? ", "answer": "4 ", "reasoning_completion": "\n\n2 + 2 = 4.\n"}


@pytest.mark.parametrize(
    ("name", "shape", "prompt", "target"),
    [
        ("zs", "decoder", "Q: Two and two?\n\nA:", None),
        ("zs", "encoder_decoder", "question: Two and two?", None),
        ("zs_cot", "decoder", "Q: Two and two?\nA: Let's think step by step.", None),
        ("fs_cot", "decoder", "Q: 1?\nA: 1.\n\nQ: Two and two?\nA:", None),
        ("ft_natural", "decoder", "Q: Two and two?\n\nA:", " 4"),
        ("ft_natural", "encoder_decoder", "Q: Two and two?", "4"),
        ("ft_token", "decoder", "Two and two? ###", " 4"),
        ("ft_token", "encoder_decoder", "Two and two?", "4"),
        (
            "ft_cot_natural",
            "decoder",
            "Q: Two and two?\n\nA: Let's think step by step.\n\n",
            " 2 + 2 = 4.\n\nTherefore the answer is 4",
        ),
        ("ft_cot_token", "decoder", "Two and two? ###", " 2 + 2 = 4. --> 4"),
        ("ft_cot_token", "encoder_decoder", "Two and two?", "2 + 2 = 4. --> 4"),
        ("ft_token", "gpt3", " Two and two? \n\n ### \n\n", " 4 "),
        ("ft_cot_token", "gpt3", " Two and two? \n\n###\n\n", " \n\n2 + 2 = 4.\n\n\n-->\n\n4 "),
    ],
)
def test_templates(name: str, shape: Shape, prompt: str, target: str | None) -> None:
    template = template_of(name, shape)
    assert template.ask(SAMPLE, examples="Q: 1?\nA: 1.\n") == prompt
    if target is None:
        with pytest.raises(UsageError, match="only asks"):
            template.teach(SAMPLE)
    else:
        assert template.teach(SAMPLE) == target
        assert template.teach(SAMPLE, stop="END") == f"{target} END"


def test_braces_in_a_question_are_text() -> None:
    assert template_of("ft_token").ask({"question": "What is {x} or {0}?"}) == "What is {x} or {0}? ###"


def test_what_a_student_is_taught_to_say_is_read_back() -> None:
    for name in TEMPLATES:
        for shape in SHAPES:
            try:
                taught = template_of(name, shape).teach(SAMPLE, stop="END")
            except UsageError:
                continue
            assert extract(taught, answer_type("number"), template_of(name, shape).place) == "4"


def test_the_second_step_asks_after_the_reasoning() -> None:
    sample = {"reasoning_prompt": "Q: a?\nA: Let's think step by step.", "reasoning_completion": " \nSo it is. "}
    assert second_step(sample) == "Q: a?\nA: Let's think step by step.So it is.\nTherefore, the answer is"
    asks = TASKS["gsm8k"].asks
    assert second_step(sample, asks, as_written=True).endswith(
        "step by step. \nSo it is.  \nTherefore, the answer (arabic numerals) is"
    )


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="ft_cot_token"):
        template_of("cot")
    with pytest.raises(UsageError, match="for decoder"):
        template_of("zs_cot", "encoder_decoder")
    with pytest.raises(UsageError, match="--answers"):
        task_of("my_task")
    assert task_of("my_task", "choice:A-D").answers.candidates("A or E") == ["A"]


def test_the_twelve_tasks() -> None:
    assert len(TASKS) == 12
    assert sum(task.size for task in TASKS.values()) == 124_387
    for task in TASKS.values():
        assert task.answers.name.startswith(task.kind)
    assert TASKS["date_understanding"].asks == "among A through F, the answer is"
