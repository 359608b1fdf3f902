"""The official SDK's runs of evals: what they read, everything there is to read of them, how they end, cancelled or killed."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest
from openai.types.evals import RunRetrieveResponse

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.fakes.server import LiveServer
from tests.fakes.speaking import SpeakingUpstream
from tests.sdk.sums import (
    CRITERIA,
    CUSTOM,
    RIGHT,
    SAME,
    asking,
    ended,
    item,
    question,
    server,
    start,
    until,
    upstream,
)

pytestmark = pytest.mark.usefixtures("forked_workers")
__all__ = ["server", "upstream"]


def test_a_run_on_two_models_and_everything_there_is_to_read_of_it(client: openai.OpenAI, server: LiveServer) -> None:
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=CRITERIA, name="sums")
    sampling: Any = {"temperature": 0.0, "max_completion_tokens": 8, "seed": 5}
    runs = [
        client.evals.runs.create(
            made.id, name=model, metadata={"model": model}, data_source=asking(model, 20, sampling_params=sampling)
        )
        for model in ("teacher", "student")
    ]
    assert all(run.status == "queued" and run.eval_id == made.id and run.result_counts.total == 20 for run in runs)
    teacher, student = (ended(client, run) for run in runs)
    assert (teacher.status, student.status) == ("completed", "completed"), (teacher, student)

    wrong = {number for number in range(20) if (2 * number + 3) % 5 == 0}
    assert teacher.result_counts.model_dump() == {"total": 20, "passed": 20, "failed": 0, "errored": 0}
    assert (student.result_counts.passed, student.result_counts.failed) == (20 - len(wrong), len(wrong))
    by_criterion = {each.testing_criteria: (each.passed, each.failed) for each in student.per_testing_criteria_results}
    assert {name: by_criterion[name] for name in ("right", "label", "score")} == dict.fromkeys(
        ("right", "label", "score"), (20 - len(wrong), len(wrong))
    )
    usage = {each.run_model_name: each for each in student.per_model_usage}
    assert usage["student"].invocation_count == 20 and usage["judge"].invocation_count == 40
    assert usage["student"].total_tokens == usage["student"].prompt_tokens + usage["student"].completion_tokens > 0
    assert student.data_source.type == "completions" and student.data_source.model == "student"

    _read_items(client, student, wrong)
    _read_lists(client, made.id, [run.id for run in runs])
    _read_comparison(server, made.id, [run.id for run in runs])
    _read_page(student)

    deleted = client.evals.runs.delete(student.id, eval_id=made.id)
    assert (deleted.deleted, deleted.run_id, deleted.object) == (True, student.id, "eval.run.deleted")
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.retrieve(student.id, eval_id=made.id)
    client.evals.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.retrieve(teacher.id, eval_id=made.id)


def _read_items(client: openai.OpenAI, run: RunRetrieveResponse, wrong: set[int]) -> None:
    items = list(client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, limit=6))
    assert [each.datasource_item_id for each in items] == list(range(20))
    assert [each.datasource_item for each in items] == [item(number) for number in range(20)]
    backwards = client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, limit=7, order="desc")
    assert [each.id for each in backwards] == [each.id for each in reversed(items)]
    failed = list(client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, status="fail", limit=1))
    assert {each.datasource_item_id for each in failed} == wrong
    passed = list(client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, status="pass"))
    assert len(passed) == 20 - len(wrong)

    one = client.evals.runs.output_items.retrieve(failed[0].id, eval_id=run.eval_id, run_id=run.id)
    assert one.model_dump() == failed[0].model_dump()
    number = one.datasource_item_id
    assert [(message.role, message.content) for message in one.sample.input] == [("user", question(number))]
    assert [(message.role, message.content) for message in one.sample.output] == [("assistant", str(2 * number + 4))]
    assert (one.sample.finish_reason, one.sample.model) == ("stop", "student")
    assert (one.sample.temperature, one.sample.seed, one.sample.max_completion_tokens) == (0.0, 5, 8)
    assert [(result.name, result.passed, result.type) for result in one.results if result.name != "near"] == [
        ("right", False, "string_check"), ("label", False, "label_model"), ("score", False, "score_model")
    ]  # fmt: skip
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.output_items.retrieve(f"{items[-1].id}0", eval_id=run.eval_id, run_id=run.id)


def _read_lists(client: openai.OpenAI, eval_id: str, runs: list[str]) -> None:
    assert [run.id for run in client.evals.runs.list(eval_id, limit=1)] == runs
    assert [run.id for run in client.evals.runs.list(eval_id, order="desc", status="completed")] == runs[::-1]
    assert client.evals.runs.list(eval_id, status="failed").data == []


def _read_comparison(server: LiveServer, eval_id: str, runs: list[str]) -> None:
    url = f"{server.url.removesuffix('/v1')}/api/evals/{eval_id}/compare?runs={','.join(runs)}&margin=0.02"
    with urllib.request.urlopen(url) as answer:
        compared = json.load(answer)
    right = next(each for each in compared["criteria"] if each["grader"] == "right")
    assert right["paired"] and right["examples"] == 20 and (right["fixed"], right["broken"]) == (0, 4)
    assert right["verdict"]["outcome"] == "not_certain" and right["verdict"]["more_examples"] > 0
    near = next(each for each in compared["criteria"] if each["grader"] == "near")
    assert near["scores"]["high"] < 0


def _read_page(run: RunRetrieveResponse) -> None:
    with urllib.request.urlopen(run.report_url) as answer:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        page = answer.read().decode()
    assert "16 of 20 graded rows pass every criterion: 80.0 %" in page
    for url in (run.report_url[:-1], run.report_url.partition("?")[0]):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url)
        with refused.value:
            assert refused.value.code == 403


def test_rows_from_a_file_and_answers_that_are_there(client: openai.OpenAI) -> None:
    lines = [{"item": item(number), "sample": {"output_text": str(2 * number + 3 + number % 2)}} for number in range(6)]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=content, purpose="evals")
    source = {"type": "file_id", "id": file.id}
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT])
    runs = [
        start(client, made.id, {**asking("teacher", 1), "source": source}),
        start(client, made.id, {"type": "jsonl", "source": source}),
    ]
    asked, judged = (ended(client, run) for run in runs)
    assert (judged.status, judged.model, judged.result_counts.passed, judged.result_counts.failed) == ("completed", "", 3, 3)
    assert judged.per_model_usage == []
    assert (asked.status, asked.result_counts.passed) == ("completed", 6)


def test_stored_completions_are_judged_as_they_are_or_asked_again(client: openai.OpenAI) -> None:
    for number in range(5):
        client.chat.completions.create(
            model="student", messages=[{"role": "user", "content": question(number)}], store=True, metadata={"use": "stored"}
        )
    config: Any = {"type": "logs", "metadata": {"use": "stored"}}
    made = client.evals.create(data_source_config=config, testing_criteria=[SAME])
    assert made.data_source_config.type == "logs" and made.data_source_config.metadata == {"use": "stored"}
    source: dict[str, Any] = {"type": "stored_completions", "model": "student"}
    messages = {"type": "item_reference", "item_reference": "item.input"}
    sources: list[dict[str, Any]] = [
        {"source": source},
        {"source": source, "model": "teacher", "input_messages": messages},
        {"source": {**source, "limit": 2}},
        {"source": {**source, "metadata": {"use": "other"}}},
    ]
    runs = [start(client, made.id, {"type": "completions", **each}) for each in sources]
    stored, asked, fewer, none = (ended(client, run) for run in runs)
    assert (stored.status, stored.result_counts.passed, stored.result_counts.total) == ("completed", 5, 5), stored
    assert (asked.result_counts.passed, asked.result_counts.failed) == (4, 1), asked
    assert fewer.result_counts.total == 2
    assert none.status == "failed" and "no row" in none.error.message
    old = client.evals.create(data_source_config={"type": "stored_completions", "metadata": {}}, testing_criteria=[SAME])
    assert old.data_source_config.type == "stored_completions"


def test_stored_responses(client: openai.OpenAI) -> None:
    for number in range(4):
        client.responses.create(
            model="student", input=question(number), instructions="Add up.", metadata={"use": "responses"}, temperature=0.5
        )
    made = client.evals.create(
        data_source_config={"type": "logs", "metadata": {"use": "responses"}},
        testing_criteria=[SAME],
    )
    source: dict[str, Any] = {"type": "responses", "instructions_search": "add", "temperature": 0.5}
    sampling = {"text": {"format": {"type": "text"}}, "max_completion_tokens": 9}
    sources: list[dict[str, Any]] = [
        {"source": source},
        {"source": source, "model": "teacher", "sampling_params": sampling},
        {"source": {**source, "temperature": 0.7}},
    ]
    runs = [start(client, made.id, {"type": "responses", **each}) for each in sources]
    judged, again, none = (ended(client, run) for run in runs)
    assert (judged.status, judged.result_counts.passed) == ("completed", 4), judged
    assert (again.status, again.result_counts.passed, again.result_counts.failed) == ("completed", 3, 1), again
    assert none.status == "failed"


def test_a_student_is_set_against_its_teacher_by_a_pairwise_judge(client: openai.OpenAI) -> None:
    beats: Any = {"type": "pairwise", "name": "beats", "model": "judge", "question": "{{item.q}}", "other": "{{item.teacher}}"}
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT])
    paired = client.evals.create(data_source_config=CUSTOM, testing_criteria=[beats])
    assert (paired.testing_criteria[0].model_extra or {})["stillhouse"]["type"] == "pairwise"
    with pytest.raises(openai.BadRequestError) as refused:
        start(
            client,
            paired.id,
            asking("student", 20),
            extra_body={"stillhouse": {"teacher": start(client, made.id, asking("teacher", 20)).id}},
        )
    assert refused.value.param == "stillhouse.teacher"
    teacher = ended(client, start(client, paired.id, asking("teacher", 20)))
    assert (teacher.status, teacher.result_counts.errored) == ("completed", 20)  # nobody to compare with; its answers are kept
    ours = {"stillhouse": {"teacher": teacher.id}}
    student = ended(client, start(client, paired.id, asking("student", 20), extra_body=ours))
    assert student.status == "completed", student
    won = (student.model_extra or {})["stillhouse"]["pairwise"]["beats"]
    assert (won["wins"], won["ties"], won["losses"]) == (0, 16, 4)
    assert won["rate"]["value"] == 0.4 and won["rate"]["high"] < 0.5 and "worse" in won["words"]


def test_a_run_is_cancelled_at_once_and_keeps_what_it_has(client: openai.OpenAI, upstream: SpeakingUpstream) -> None:
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT])
    before = len(upstream.ledger)
    upstream.gate.clear()
    try:
        run = client.evals.runs.create(made.id, data_source=asking("teacher", 30))
        upstream.wait_for(before + 1)
        assert client.evals.runs.cancel(run.id, eval_id=made.id).status == "canceled"
        found = until(client, run, lambda found: (found.model_extra or {})["stillhouse"]["state"] == "cancelled")
    finally:
        upstream.gate.set()
    assert (found.status, found.result_counts.passed) == ("canceled", 0)
    assert client.evals.runs.cancel(run.id, eval_id=made.id).status == "canceled"
    asked = len(upstream.ledger)
    after = ended(client, client.evals.runs.create(made.id, data_source=asking("student", 1)))
    assert after.status == "completed" and len(upstream.ledger) == asked + 1


@pytest.mark.engine
def test_killed_it_goes_on_by_itself_and_ends_as_it_would_have(
    client: openai.OpenAI, server: LiveServer, upstream: SpeakingUpstream
) -> None:
    made = client.evals.create(data_source_config=CUSTOM, testing_criteria=CRITERIA)
    whole = ended(client, client.evals.runs.create(made.id, data_source=asking("student", 60)))
    begin = len(upstream.ledger)
    upstream.gate.clear()
    run = client.evals.runs.create(made.id, data_source=asking("student", 60))
    kills = 0
    try:
        for more in (9, 100):  # while the model answers, and while the judges judge
            upstream.gate.set()
            upstream.wait_for(begin + more)
            upstream.gate.clear()
            _kill_worker(server, run.id)
            kills += 1
    finally:
        upstream.gate.set()
    cut = ended(client, run)
    assert (cut.status, whole.status) == ("completed", "completed")
    assert cut.result_counts == whole.result_counts
    assert cut.per_testing_criteria_results == whole.per_testing_criteria_results
    assert cut.per_model_usage == whole.per_model_usage
    assert 180 <= len(upstream.ledger) - begin <= 180 + kills * 8
    items = [list(client.evals.runs.output_items.list(each.id, eval_id=made.id, limit=100)) for each in (cut, whole)]
    assert [_said(each) for each in items[0]] == [_said(each) for each in items[1]]


def _said(output_item: Any) -> Any:
    return output_item.model_dump(include={"datasource_item", "results", "sample", "status"})


def _kill_worker(server: LiveServer, run_id: str) -> None:
    store = open_store(Settings(data_dir=server.data_dir), role="worker")
    try:
        run = store.run(run_id)
    finally:
        store.close()
    assert run is not None and run.state == "running" and run.pid is not None
    os.kill(run.pid, signal.SIGKILL)
