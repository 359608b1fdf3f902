"""Evals, runs and output items as the SDK reads them; what its types have no place for stands under `stillhouse`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.document import Document
from stillhouse.evaluation.blocks import standing_of
from stillhouse.evaluation.schemas import schema_of
from stillhouse.evaluation.tallying import Count, Spent, cached_tokens
from stillhouse.grade import Answered
from stillhouse.jobs.eval_graders import criterion_names
from stillhouse.jobs.evals import EvalRecord, EvalRun
from stillhouse.run import RunState
from stillhouse.transcript import message_text

STATUS: Mapping[RunState, str] = {
    "queued": "queued",
    "running": "in_progress",
    "pausing": "in_progress",
    "paused": "in_progress",
    "stopped": "in_progress",
    "interrupted": "in_progress",
    "cancelling": "canceled",
    "cancelled": "canceled",
    "succeeded": "completed",
    "failed": "failed",
}
"""A run's state -> OpenAI's word for it; one that stopped or died goes on by itself."""
STATUSES = ("queued", "in_progress", "completed", "canceled", "failed")
NO_ERROR = {"code": "", "message": ""}
"""The SDK's types want an error in everything."""
SDK_CRITERIA = frozenset({"label_model", "string_check", "text_similarity", "python", "score_model"})


def eval_body(document: Document, record: EvalRecord) -> dict[str, Any]:
    config = record.config
    shown: dict[str, Any] = {"type": config.type, "schema": schema_of(config)}
    if config.type != "custom":
        shown["metadata"] = config.metadata or {}
    return {
        "id": document.id,
        "object": "eval",
        "name": record.name,
        "created_at": document.created,
        "updated_at": record.updated_at,
        "metadata": record.metadata,
        "data_source_config": shown,
        "testing_criteria": [criterion_body(criterion) for criterion in record.testing_criteria],
    }


def criterion_body(criterion: dict[str, Any]) -> dict[str, Any]:
    """A criterion of a kind that the SDK has no type for looks like a string check, with the truth beside it."""
    if criterion.get("type") in SDK_CRITERIA:
        return criterion
    looks: dict[str, Any] = {"type": "string_check", "name": str(criterion.get("name") or criterion.get("type"))}
    compared = {"input": "{{sample.output_text}}", "operation": "eq", "reference": "{{item.reference}}"}
    return {**looks, **compared, "stillhouse": criterion}


def run_status(found: EvalRun) -> str:
    if found.record.rescued is not None:
        return str(found.record.rescued.get("status"))
    return "failed" if found.run is None else STATUS[found.run.state]


def run_body(found: EvalRun, record: EvalRecord, base: str, data_source: dict[str, Any]) -> dict[str, Any]:
    """`base`: the server's own address, for the page. `data_source`: as it was sent, rows included."""
    if found.record.rescued is not None:
        return {**found.record.rescued, "stillhouse": {"state": "rescued"}}
    tally, state = found.record.tally, "lost" if found.run is None else found.run.state
    standings = tally.standings
    names = criterion_names(record.testing_criteria)
    counts = [tally.graders.get(name, Count()) for name in names]
    rows = found.record.rows
    return {
        "id": found.id,
        "object": "eval.run",
        "eval_id": found.eval,
        "name": found.record.name,
        "created_at": found.created,
        "status": run_status(found),
        "model": found.record.model,
        "report_url": f"{base}{page_path(found)}",
        "result_counts": {
            "total": rows.count if rows is not None else tally.rows,
            "errored": standings.get("error", 0),
            "failed": standings.get("fail", 0),
            "passed": standings.get("pass", 0),
        },
        "per_model_usage": [_usage_body(model, spent) for model, spent in sorted(tally.usage.items())],
        "per_testing_criteria_results": [
            {"testing_criteria": name, "passed": count.passed, "failed": count.failed, "errored": count.errored}
            for name, count in zip(names, counts, strict=True)
        ],
        "data_source": data_source,
        "metadata": found.record.metadata,
        "error": _run_error(found),
        "stillhouse": {
            "state": state,
            "done": tally.rows,
            "report": found.record.report,
            "options": found.record.options.model_dump(),
            "contamination": found.record.contamination,
            "pairwise": found.record.pairwise,
        },
    }


def page_path(found: EvalRun) -> str:
    """The run's page, with the token that opens it."""
    return f"/evals/{found.eval}/runs/{found.id}?token={found.record.token}"


def item_id(run_id: str, position: int) -> str:
    """Of the output item at a position: places sort and are found again without an index."""
    return f"outputitem-{run_id.partition('-')[2]}-{position}"


def item_position(run_id: str, identifier: str) -> int | None:
    """The position that an id names; None for an id of no item of this run."""
    prefix, _, number = identifier.rpartition("-")
    known = prefix == f"outputitem-{run_id.partition('-')[2]}" and number.isascii() and number.isdecimal()
    return int(number) if known and len(number) < 12 else None


def item_body(found: EvalRun, criteria: Sequence[dict[str, Any]], position: int, row: Answered) -> dict[str, Any]:
    results = []
    for name, criterion in zip(criterion_names(criteria), criteria, strict=True):
        results.append(_result_body(name, criterion, row))
    return {
        "id": item_id(found.id, position),
        "object": "eval.run.output_item",
        "eval_id": found.eval,
        "run_id": found.id,
        "created_at": found.created,
        "status": standing_of(row),
        "datasource_item_id": position,
        "datasource_item": row.item or {},
        "results": results,
        "sample": _sample_body(found, row),
    }


def _result_body(name: str, criterion: dict[str, Any], row: Answered) -> dict[str, Any]:
    grade = row.grades.get(name)
    if grade is None:
        why = row.ungraded.get(name) or row.error or "There was no answer to grade."
        return {"name": name, "type": criterion.get("type"), "score": 0.0, "passed": False, "sample": None, "error": why}
    return {
        "name": name,
        "type": criterion.get("type"),
        "score": grade.score,
        "passed": grade.passed,
        "sample": {"reason": grade.reason, **grade.details} if grade.usage else None,
        "reason": grade.reason,
        **({"parts": grade.parts} if grade.parts else {}),
    }


def _sample_body(found: EvalRun, row: Answered) -> dict[str, Any]:
    """Numbers that were not set are shown as the API's defaults; what was really sent stands in the run's data source."""
    sample, set_ = row.sample or {}, found.record.data_source.get("sampling_params") or {}
    usage = sample.get("usage")
    prompt, completion = row.prompt_tokens or 0, row.completion_tokens or 0
    model = sample.get("model")
    finished = sample.get("finish_reason")
    return {
        "input": [_message_body(message) for message in _objects(sample.get("input"))],
        "output": [] if row.answer is None else [_output_body(sample, row.answer)],
        "finish_reason": finished if isinstance(finished, str) else "",
        "model": model if isinstance(model, str) and model else row.model,
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "cached_tokens": cached_tokens(usage),
        },
        "error": {"code": "no_answer", "message": row.error} if row.error else NO_ERROR,
        "temperature": _number(set_.get("temperature"), 1.0),
        "top_p": _number(set_.get("top_p"), 1.0),
        "seed": int(_number(set_.get("seed"), 0)),
        "max_completion_tokens": int(_number(set_.get("max_completion_tokens"), 0)),
    }


def _output_body(sample: Mapping[str, Any], answer: str) -> dict[str, Any]:
    tools = sample.get("output_tools")
    return {"role": "assistant", "content": answer, **({"tool_calls": tools} if isinstance(tools, list) else {})}


def _message_body(message: dict[str, Any]) -> dict[str, Any]:
    return {"role": str(message.get("role", "")), "content": message_text(message)}


def _usage_body(model: str, spent: Spent) -> dict[str, Any]:
    return {
        "model_name": model,
        "invocation_count": spent.requests,
        "prompt_tokens": spent.prompt_tokens,
        "completion_tokens": spent.completion_tokens,
        "total_tokens": spent.prompt_tokens + spent.completion_tokens,
        "cached_tokens": spent.cached_tokens,
    }


def _run_error(found: EvalRun) -> dict[str, str]:
    if found.run is None:
        return {"code": "lost", "message": "The run is not in the queue any more."}
    if found.run.state == "failed":
        return {"code": "failed", "message": found.run.error or "It failed without a word."}
    return NO_ERROR


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _number(value: object, default: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default
