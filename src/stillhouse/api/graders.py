"""`/v1/fine_tuning/alpha/graders`: try a grader on one sample (`run`), or have its configuration checked (`validate`).

What goes wrong within a grader is no HTTP error: the answer is a reward of 0 and a flag that says what it was, as at OpenAI.
"""

from __future__ import annotations

import time
from typing import Any, get_args

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.grade import Fault, Grade, GradingError
from stillhouse.graders.base import GraderConfig, Means
from stillhouse.graders.building import build, check, parse_config
from stillhouse.graders.multi import with_one
from stillhouse.records import Record
from stillhouse.sample import sample_of

PATH = "/v1/fine_tuning/alpha/graders"
DETAILS: dict[str, str] = {
    "model_grader_server_error": "model_grader_server_error_details",
    "python_grader_runtime_error": "python_grader_runtime_error_details",
}
"""Flag -> where its details stand."""


class RunBody(Record):
    grader: dict[str, Any]
    model_sample: str
    item: Any = None


class ValidateBody(Record):
    grader: dict[str, Any]


class Graders:
    """Handlers."""

    def __init__(self, means: Means, max_body_bytes: int) -> None:
        self._means = means
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Line]:
        return [("POST", f"{PATH}/run", self.run, Policy.KEY), ("POST", f"{PATH}/validate", self.validate, Policy.KEY)]

    @takes(RunBody)
    async def run(self, call: Call) -> Reply:
        body = parse_body(RunBody, await call.body(self._max_body_bytes))
        config = parse_config(body.grader)
        grader = build(config, self._means)
        item = body.item if isinstance(body.item, dict) else {}
        began = time.perf_counter()
        try:
            outcome: Grade | GradingError = await grader.grade(item, sample_of(body.model_sample))
        except GradingError as exc:
            outcome = exc
        return Reply.of(_answer(config, outcome, time.perf_counter() - began))

    @takes(ValidateBody)
    async def validate(self, call: Call) -> Reply:
        config = parse_config(parse_body(ValidateBody, await call.body(self._max_body_bytes)).grader)
        await check(build(config, self._means))
        sent = config.as_sent()
        shown = with_one(sent)
        return Reply.of({"grader": shown, **({} if shown == sent else {"stillhouse": {"grader": sent}})})


def _answer(config: GraderConfig, outcome: Grade | GradingError, seconds: float) -> dict[str, Any]:
    failed, grade = (outcome, None) if isinstance(outcome, GradingError) else (None, outcome)
    details = {} if grade is None else grade.details
    usage = {
        model: {
            "requests": used.requests,
            "prompt_tokens": used.prompt_tokens,
            "completion_tokens": used.completion_tokens,
            "total_tokens": used.prompt_tokens + used.completion_tokens,
        }
        for model, used in outcome.usage.items()
    }
    return {
        "reward": 0.0 if grade is None else grade.score,
        "metadata": {
            "name": config.name,
            "type": config.type,
            "errors": _errors(failed),
            "execution_time": seconds,
            "scores": outcome.parts,
            "token_usage": sum(used["total_tokens"] for used in usage.values()) if usage else None,
            "sampled_model_name": details.get("model"),
            "reason": str(failed) if grade is None else grade.reason,
            "details": details,
        },
        "sub_rewards": outcome.parts,
        "model_grader_token_usage_per_model": usage,
    }


def _errors(failed: GradingError | None) -> dict[str, Any]:
    """Every flag, and the details of the one that is set."""
    flags: dict[str, Any] = {fault: failed is not None and failed.fault == fault for fault in get_args(Fault)}
    details = {name: str(failed) if failed is not None and failed.fault == flag else None for flag, name in DETAILS.items()}
    refused = failed is not None and failed.fault == "python_grader_server_error"
    return {**flags, **details, "python_grader_server_error_type": "sandbox_unavailable" if refused else None}
