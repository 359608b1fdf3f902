"""The ways to ask for an explanation, and what each says to the model.

zs_cot, zs_cot_long  two requests: the reasoning, then, after it, the answer (Kojima et al. 2022); the one short, the other long
chat                 one request: think, then a last line "Answer: ...". For models tuned to chat, reasoning models included
plain                one request, the question as it is: for models that reason unasked and say "The answer is ..."
fs_cot               one request after worked examples (Wei et al. 2022), "The answer is ..."
zs                   one request for the answer alone: the baseline
ft_...               one request in the words that a student was fine-tuned in (Ho et al. 2023): ft_natural, ft_token,
                     ft_cot_natural, ft_cot_token
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

from pydantic import Field

from stillhouse.chat import Message
from stillhouse.prompts import sample_seed
from stillhouse.reasoning import ReasoningTask, template_of
from stillhouse.reasoning.templates import Shape, second_step
from stillhouse.records import Record
from stillhouse.transcript import message_text

MethodName = Literal[
    "chat", "plain", "zs_cot", "zs_cot_long", "fs_cot", "zs", "ft_natural", "ft_token", "ft_cot_natural", "ft_cot_token"
]
METHODS: tuple[MethodName, ...] = get_args(MethodName)

_TAUGHT = {name: 512 for name in METHODS if name.startswith("ft_")}
_LENGTHS = {"zs_cot": 128, "zs_cot_long": 512, "fs_cot": 128, "zs": 128, **_TAUGHT}
"""Tokens of the first answer; zs_cot's is the paper's. Chat models are not cut short."""
ANSWER_TOKENS = 128
DIVERSE = 0.7
"""The temperature of diverse reasoning in Ho et al. 2023; a single rationale is taken at 0."""
_FORMS = {
    "number": "a number",
    "paper_number": "a number",
    "yes_no": "yes or no",
    "letters": "the letters",
    "date": "the date as MM/DD/YYYY",
    "latex": "\\boxed{...}",
}


class Method(Record):
    """How a model is asked."""

    name: MethodName = "chat"
    samples: int = Field(default=1, ge=1)
    """Rationales a question."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Of the reasoning. None: 0 for one rationale, `DIVERSE` for several. The answer's request has 0."""
    send_temperature: bool = True
    """Some reasoning models refuse one."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Of the reasoning. None: the method's own."""
    seed: int | None = None
    """Each rationale of each question is sent its own, drawn by this one (`prompts.sample_seed`). None: none is sent."""
    asks: Literal["paper", "task"] = "paper"
    """The second step: "Therefore, the answer is" (Ho et al.), or the task's own phrase (Kojima et al.)."""
    examples: str = ""
    """fs_cot: the worked examples."""
    shape: Shape = "decoder"
    """ft_...: the student's."""

    @property
    def template(self) -> str:
        """`prediction_template`: says where answers stand."""
        return "zs_cot" if self.two_steps else "chat" if self.name == "plain" else self.name

    @property
    def two_steps(self) -> bool:
        return self.name in ("zs_cot", "zs_cot_long")

    @property
    def length(self) -> int | None:
        return self.max_tokens or _LENGTHS.get(self.name)

    @property
    def heat(self) -> float:
        """The temperature in force."""
        return (DIVERSE if self.samples > 1 else 0.0) if self.temperature is None else self.temperature

    def first(self, messages: list[Message], task: ReasoningTask) -> list[Message]:
        """The messages of the first request, for a question that came as `messages`."""
        if self.name == "plain":
            return messages
        question = message_text(messages[-1]) if messages else ""
        if self.name == "chat":
            text = f"{question}\n\n{instruction(task)}"
        else:
            template = template_of("zs_cot" if self.two_steps else self.name, self.shape if self.name in _TAUGHT else "decoder")
            text = template.ask({"question": question}, examples=self.examples.rstrip("\n") + "\n")
        return [*messages[:-1], {"role": "user", "content": text}]

    def second(self, row: dict[str, Any], task: ReasoningTask) -> str:
        """The prompt of the second request, after the reasoning is in `row`."""
        own = self.asks == "task"
        return second_step(row, task.asks if own else "the answer is", as_written=own)

    def parameters(self, question: Sequence[Message], sample: int, *, answering: bool = False) -> dict[str, Any]:
        """What goes with a request for rationale `sample` of `question`: temperature, length, seed, stop."""
        found: dict[str, Any] = {}
        if self.send_temperature:
            found["temperature"] = 0.0 if answering else self.heat
        length = ANSWER_TOKENS if answering else self.length
        if length is not None:
            found["max_completion_tokens"] = length
        if self.seed is not None:
            found["seed"] = sample_seed(self.seed, question, sample)
        if self.name == "fs_cot":
            found["stop"] = ["\nQ:"]
        return found


def instruction(task: ReasoningTask) -> str:
    """What a chat model is told, so that its answer can be found."""
    kind, _, option = task.kind.partition(":")
    form = f"one letter of {option or 'A-E'}" if kind == "choice" else _FORMS.get(kind, "the answer")
    return f'Think step by step. Then write the final answer alone on a last line, as "Answer: " and {form}.'
