"""The templates of Ho et al. 2023: what a model is asked, what it is taught to say, where its answer then stands.

The strings are those of the paper's published code, to the character. `decoder` and `encoder_decoder` are its two shapes of
model; `gpt3` is the third set that its notes give for the GPT-3 students of the paper, with blank lines around the tokens. Texts
are stripped before they are filled in, as there, but not for `gpt3`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from stillhouse.answers import Place
from stillhouse.errors import UsageError
from stillhouse.records import Record

Shape = Literal["decoder", "encoder_decoder", "gpt3"]
SHAPES: tuple[Shape, ...] = ("decoder", "encoder_decoder", "gpt3")
STOP = "END"
"""What a student that is trained through OpenAI's fine-tuning learns to end with, and what its answers are stopped by."""
STEP_BY_STEP = "Let's think step by step."

_FIELDS = ("question", "answer", "reasoning_completion", "reasoning_prompt", "examples")

_QA = "Q: {question}\n\nA:"
_ANSWER = " {answer}"
_TOKEN = "{question} ###"
_COT_TOKEN = " {reasoning_completion} --> {answer}"
_COT_NATURAL_Q = f"Q: {{question}}\n\nA: {STEP_BY_STEP}\n\n"
_COT_NATURAL = " {reasoning_completion}\n\nTherefore the answer is {answer}"

_PROMPTS: dict[str, dict[str, str]] = {
    "zs": {"decoder": _QA, "encoder_decoder": "question: {question}"},
    "zs_cot": {"decoder": f"Q: {{question}}\nA: {STEP_BY_STEP}"},
    "fs_cot": {"decoder": "{examples}\nQ: {question}\nA:", "encoder_decoder": "{examples}\nQ: {question}\nA:"},
    "ft_natural": {"decoder": _QA, "encoder_decoder": "Q: {question}", "gpt3": "{question}\n\n ### \n\n"},
    "ft_token": {"decoder": _TOKEN, "encoder_decoder": "{question}", "gpt3": "{question}\n\n ### \n\n"},
    "ft_cot_natural": {"decoder": _COT_NATURAL_Q, "gpt3": _COT_NATURAL_Q},
    "ft_cot_token": {"decoder": _TOKEN, "encoder_decoder": "{question}", "gpt3": "{question}\n\n###\n\n"},
}
_TARGETS: dict[str, dict[str, str]] = {
    "ft_natural": {"decoder": _ANSWER, "encoder_decoder": "{answer}", "gpt3": _ANSWER},
    "ft_token": {"decoder": _ANSWER, "encoder_decoder": "{answer}", "gpt3": _ANSWER},
    "ft_cot_natural": {
        "decoder": _COT_NATURAL,
        "gpt3": " {reasoning_completion}\n\nTherefore the answer is\n\n{answer}",
    },
    "ft_cot_token": {
        "decoder": _COT_TOKEN,
        "encoder_decoder": "{reasoning_completion} --> {answer}",
        "gpt3": " {reasoning_completion}\n\n-->\n\n{answer}",
    },
}
_SECOND_STEP = "{reasoning_prompt}{reasoning_completion}\nTherefore, {asks}"

_STOPPED = (f" {STOP}",)
_PLACES = {
    "fs_cot": Place(("The answer is",), occurrence="last", until=("\nQ:",)),
    "ft_natural": Place(until=_STOPPED),
    "ft_token": Place(until=_STOPPED),
    # The paper's evaluator looks for the phrase with a comma, its template writes it without: both count here.
    "ft_cot_natural": Place(("Therefore, the answer is", "Therefore the answer is"), until=_STOPPED),
    "ft_cot_token": Place(("-->",), until=_STOPPED),
    "chat": Place(sentence=True),
}


class Template(Record):
    """One template for one shape of model."""

    name: str
    shape: Shape = "decoder"
    prompt: str
    target: str | None = None
    """What a student learns to answer; None for templates that only ask."""

    @property
    def place(self) -> Place:
        """Where the answer stands in a completion."""
        return place_of(self.name)

    def ask(self, sample: Mapping[str, Any], examples: str = "") -> str:
        """The prompt for a sample; `examples` are the worked ones of few-shot."""
        return self.prompt.format_map(self._fields({**sample, "examples": examples}))

    def teach(self, sample: Mapping[str, Any], *, stop: str | None = None) -> str:
        """The answer to learn, ending in ` END` or the like where `stop` says so. Raises UsageError where there is none."""
        if self.target is None:
            raise UsageError(f"The template '{self.name}' only asks; train with one of: {', '.join(_TARGETS)}.")
        return self.target.format_map(self._fields(sample)) + (f" {stop}" if stop else "")

    def _fields(self, sample: Mapping[str, Any]) -> dict[str, str]:
        texts = {name: str(sample.get(name) or "") for name in _FIELDS}
        kept = {"examples"} | (set(_FIELDS) if self.shape == "gpt3" else set())
        return {name: text if name in kept else text.strip() for name, text in texts.items()}


TEMPLATES = tuple(_PROMPTS)
"""Their names."""


def template_of(name: str, shape: Shape = "decoder") -> Template:
    """Raises UsageError for a name or a shape that the paper does not have."""
    if name not in _PROMPTS:
        raise UsageError(f"There is no template '{name}'. There are: {', '.join(TEMPLATES)}.")
    prompt = _PROMPTS[name].get(shape)
    if prompt is None:
        raise UsageError(f"The template '{name}' is for {' and '.join(_PROMPTS[name])}; got '{shape}'.")
    return Template(name=name, shape=shape, prompt=prompt, target=_TARGETS.get(name, {}).get(shape))


def second_step(sample: Mapping[str, Any], asks: str = "the answer is", *, as_written: bool = False) -> str:
    """The prompt of zero-shot CoT's second step, which asks for the answer after the reasoning.

    As in Ho et al.'s code both parts are stripped; `as_written` keeps them and puts Kojima et al.'s space before the line break.
    """
    parts = {name: str(sample.get(name) or "") for name in ("reasoning_prompt", "reasoning_completion")}
    if as_written:
        return _SECOND_STEP.format(asks=asks, **{**parts, "reasoning_completion": parts["reasoning_completion"] + " "})
    return _SECOND_STEP.format(asks=asks, **{name: text.strip() for name, text in parts.items()})


def place_of(template: str | None) -> Place:
    """Where answers stand in completions of a template; unknown ones are read like zero-shot: the first candidate."""
    return _PLACES.get(template or "", Place())
