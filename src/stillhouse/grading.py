"""Graders by name, and what they are handed: judges by model id, the embedder of `cosine`, the sandbox of users' code.

The server and the workspace both use it; what a grader does stands in `stillhouse.graders`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from stillhouse.answers import ANSWERS, AnswerType, Place, answer_type
from stillhouse.chat import ChatModel, ChatRequest
from stillhouse.errors import NotFoundError, UpstreamError, UsageError
from stillhouse.graders import GRADERS
from stillhouse.graders.base import Means
from stillhouse.graders.rubrics import RUBRICS
from stillhouse.reasoning.templates import place_of
from stillhouse.routing import Renamed, Router, Target
from stillhouse.sandbox import Sandbox
from stillhouse.settings import Settings
from stillhouse.similarity import Ngrams

ANSWER = "answer:"
"""Prefix of the types of answers, e.g. `answer:number`, `answer:choice:A-F`; of students that were taught by one of the paper's
templates, `answer:number@ft_cot_token`."""
RUBRIC = "rubric:"
"""Prefix of the ready rubrics, e.g. `rubric:accuracy`."""


def means_of(settings: Settings, resolve: Callable[[str], Target], model: Callable[[str], ChatModel]) -> Means:
    """What graders get. `resolve` and `model` look a model id up; both raise NotFoundError."""
    name = settings.embedder
    return Means(
        model=model,
        embedder=ForwardedEmbedder(resolve, name) if name else Ngrams(),
        sandbox=Sandbox() if settings.python_graders else None,
    )


def config_of(spec: str, judge: str | None = None) -> dict[str, Any]:
    """What a command line names: a kind (`exact`), `answer:number`, `rubric:accuracy`, `pairwise`, or a JSON file with a
    configuration.

    `judge` is the model that judges. Raises UsageError, NotFoundError.
    """
    if spec.endswith(".json"):
        return _read(Path(spec))
    if spec.startswith(ANSWER):
        kind, _, template = spec.removeprefix(ANSWER).partition("@")
        return {"type": "typed_answer", "name": spec, "answers": kind, **({"template": template} if template else {})}
    if spec.startswith(RUBRIC):
        return {"type": "rubric", "name": spec, "rubric": spec.removeprefix(RUBRIC), "model": _named(judge, spec)}
    if spec == "pairwise":
        return {"type": spec, "name": spec, "other": "{{item.teacher}}", "model": _named(judge, spec)}
    if hasattr(GRADERS.resolve(spec), "Config"):
        raise UsageError(
            f"A grader of type '{spec}' needs its configuration: write it to a file, and name that: --grader {spec}.json"
        )
    return {"type": spec, "name": spec}


def voting_rule(specs: Sequence[str]) -> tuple[AnswerType, Place]:
    """By which rule answers are counted as the same vote: that of the first grader of types of answers, else free texts'."""
    for spec in specs:
        config = config_of(spec) if spec.startswith(ANSWER) or spec.endswith(".json") else {}
        if config.get("type") == "typed_answer":
            return answer_type(str(config["answers"])), place_of(str(config.get("template", "chat")))
    return answer_type("text"), place_of("chat")


def known() -> list[str]:
    """What a command line can name, besides files."""
    plain = [name for name in GRADERS.names() if not hasattr(GRADERS.resolve(name), "Config")]
    return [*plain, *(ANSWER + name for name in ANSWERS.names()), *(RUBRIC + name for name in RUBRICS), "pairwise"]


class ForwardedEmbedder:
    """An Embedder behind `/embeddings` of the upstream that has the model.

    `closes`: what `resolve` gives was opened for this request, and nobody else closes it.
    """

    def __init__(self, resolve: Callable[[str], Target], name: str, *, closes: bool = False) -> None:
        self.name = name
        self._resolve = resolve
        self._closes = closes

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises NotFoundError, UpstreamError."""
        target = self._resolve(self.name)
        try:
            body = await self._body(target, texts)
        finally:
            if self._closes:
                await target.model.close()
        try:
            listed = sorted(body["data"], key=lambda each: each["index"])
            vectors = [[float(number) for number in each["embedding"]] for each in listed]
        except (LookupError, TypeError, ValueError) as exc:
            raise UpstreamError(f"'{self.name}' gave no list of embeddings.") from exc
        if len(vectors) != len(texts):
            raise UpstreamError(f"'{self.name}' gave {len(vectors)} embeddings for {len(texts)} texts.")
        return vectors

    async def _body(self, target: Target, texts: Sequence[str]) -> dict[str, Any]:
        if target.forwarder is None:
            raise UsageError(f"The embedder '{self.name}' (STILLHOUSE_EMBEDDER, or --embedder) is no upstream's model.")
        request = ChatRequest(orjson.dumps({"model": target.name, "input": list(texts)}))
        return (await target.forwarder.forward("/embeddings", request)).body


def judge_of(router: Router) -> Callable[[str], ChatModel]:
    """Judges of a server: looked up when they are asked, since a route may have changed by then."""

    def model(name: str) -> ChatModel:
        target = router.resolve(name)
        return Renamed(target.model, target.name)

    return model


def _read(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except OSError as exc:
        raise NotFoundError(f"There is no grader's file '{path}'.") from exc
    except orjson.JSONDecodeError as exc:
        raise UsageError(f"'{path}' is not JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise UsageError(f"'{path}' must hold one grader: an object with a 'type' and a 'name'.")
    return value


def _named(judge: str | None, spec: str) -> str:
    if judge is None:
        raise UsageError(f"'{spec}' needs a judge: name the model that judges, e.g. --judge gpt-4o.")
    return judge
