"""`fine_tuning.alpha.graders` by the official SDK, strict, sync and async: every grader, every flag."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.fine_tuning.alpha import GraderRunResponse

from tests.fakes.server import LiveServer, add_upstream
from tests.fakes.upstream import FakeUpstream

CHECK: dict[str, Any] = {
    "type": "string_check",
    "name": "same",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
SIMILAR: dict[str, Any] = {
    "type": "text_similarity",
    "name": "alike",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "evaluation_metric": "fuzzy_match",
}
PYTHON: dict[str, Any] = {
    "type": "python",
    "name": "code",
    "source": "def grade(sample, item):\n    return 0.5 if item['answer'] in sample['output_text'] else 0.0\n",
}


def judge(says: str, **more: Any) -> dict[str, Any]:
    """A score model whose upstream answers `says`."""
    content = [{"type": "input_text", "text": f"SAY[{says}]SAY Judge: {{{{sample.output_text}}}}"}]
    message = {"role": "user", "content": content, "type": "message"}
    return {"type": "score_model", "name": "judge", "model": "gpt-4o", "input": [message], **more}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    data_dir: Path = tmp_path_factory.mktemp("graders") / "data"
    with FakeUpstream() as upstream:
        add_upstream(data_dir, upstream.base_url, "gpt-4o", max_retries=0)
        add_upstream(data_dir, "http://127.0.0.1:9/v1", "gone", name="gone", max_retries=0)
        with LiveServer(data_dir) as server:
            yield server


def run(client: openai.OpenAI, grader: dict[str, Any], sample: str, **item: Any) -> GraderRunResponse:
    return client.fine_tuning.alpha.graders.run(grader=grader, model_sample=sample, item=item)  # type: ignore[arg-type]


def flags(response: GraderRunResponse) -> list[str]:
    """The flags that are set."""
    return sorted(name for name, value in response.metadata.errors.model_dump().items() if value is True)


def test_graders_that_compare(client: openai.OpenAI) -> None:
    right = run(client, CHECK, "退款", answer="退款")
    assert (right.reward, right.metadata.name, right.metadata.type, flags(right)) == (1.0, "same", "string_check", [])
    assert run(client, CHECK, "退货", answer="退款").reward == 0.0
    assert run(client, SIMILAR, "refund", answer="refunds").reward == pytest.approx(12 / 13)
    for metric in ("cosine", "bleu", "gleu", "meteor", "rouge_1", "rouge_5", "rouge_l"):
        text = "客户要求退款，但订单已经发货。"
        assert run(client, {**SIMILAR, "evaluation_metric": metric}, text, answer=text).reward > 0.99


def test_a_python_grader(client: openai.OpenAI) -> None:
    assert run(client, PYTHON, "it is yes", answer="yes").reward == 0.5
    broken = run(client, {**PYTHON, "source": "def grade(sample, item):\n    return 1 / 0"}, "x")
    assert (broken.reward, flags(broken)) == (0.0, ["python_grader_runtime_error"])
    assert "ZeroDivisionError" in (broken.metadata.errors.python_grader_runtime_error_details or "")


def test_a_judge(client: openai.OpenAI) -> None:
    judged = run(client, judge('{"reasoning": "good", "score": 4}', range=[1, 5]), "an answer")
    assert (judged.reward, flags(judged), judged.metadata.sampled_model_name) == (4.0, [], "gpt-4o")
    assert judged.metadata.token_usage == 18
    assert judged.api_model_grader_token_usage_per_model == {
        "gpt-4o": {"requests": 1, "prompt_tokens": 7, "completion_tokens": 11, "total_tokens": 18}
    }


def test_every_way_in_which_a_judge_fails(client: openai.OpenAI) -> None:
    unread = run(client, judge("four, I think"), "an answer")
    assert (unread.reward, flags(unread)) == (0.0, ["api_model_grader_parse_error"])
    assert unread.metadata.token_usage == 3 * 18, "it was asked three times"
    out = run(client, judge('{"reasoning": "", "score": 6}'), "an answer")
    assert flags(out) == ["api_model_grader_parse_error"]
    gone = run(client, {**judge("x"), "model": "gone"}, "an answer")
    assert flags(gone) == ["api_model_grader_server_error"]
    assert "gone" in (gone.metadata.errors.api_model_grader_server_error_details or "")


def test_variables_that_are_not_there(client: openai.OpenAI) -> None:
    assert flags(run(client, CHECK, "x", question="?")) == ["invalid_variable_error"]
    wanted = {**CHECK, "input": "{{sample.output_json.total}}"}
    assert flags(run(client, wanted, "no JSON", answer="5")) == ["sample_parse_error"]
    assert run(client, wanted, '{"total": 5}', answer="5").reward == 1.0


def test_several_graders_and_a_formula(client: openai.OpenAI, server: LiveServer) -> None:
    one = {"type": "multi", "name": "all", "graders": CHECK, "calculate_output": "0.5 * same + 0.25"}
    combined = run(client, one, "yes", answer="yes")
    assert (combined.reward, combined.sub_rewards, combined.metadata.scores) == (0.75, {"same": 1.0}, {"same": 1.0})
    both: list[Any] = [[CHECK, PYTHON], {"same": CHECK, "code": PYTHON}]
    for graders in both:
        several = {**one, "graders": graders, "calculate_output": "max(same, code) - min(same, code)"}
        assert run(client, several, "yes", answer="yes").reward == 0.5
    divided = {**one, "calculate_output": "1 / same"}
    failed = run(client, divided, "no", answer="yes")
    assert (flags(failed), failed.sub_rewards) == (["formula_parse_error"], {"same": 0.0})


def test_validate(client: openai.OpenAI) -> None:
    validate = client.fine_tuning.alpha.graders.validate
    multi: dict[str, Any] = {"type": "multi", "name": "all", "graders": CHECK, "calculate_output": "same"}
    for grader in (CHECK, SIMILAR, PYTHON, judge("x", range=[0, 2]), multi):
        validated = validate(grader=grader).grader  # type: ignore[arg-type]
        assert validated is not None
        assert validated.model_dump(exclude_unset=True) == grader
    unnamed = {key: value for key, value in CHECK.items() if key != "name"}
    for graders in ([CHECK, SIMILAR], {"same": unnamed, "near": SIMILAR}):  # the SDK's type has room for one
        sent = {**multi, "graders": graders, "calculate_output": "same"}
        response = validate(grader=sent)  # type: ignore[arg-type]
        assert response.grader is not None and response.grader.model_dump(exclude_unset=True)["graders"] == CHECK
        assert response.model_extra == {"stillhouse": {"grader": sent}}


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        ({**CHECK, "operation": "equals"}, "grader.operation"),
        ({**CHECK, "input": "{{item.}}"}, "grader.input"),
        ({**CHECK, "input": "{{user.name}}"}, "grader.input"),
        ({**CHECK, "extra": 1}, "grader.extra"),
        ({**SIMILAR, "evaluation_metric": "bertscore"}, "grader.evaluation_metric"),
        ({**PYTHON, "source": "pass"}, "grader.source"),
        (judge("x", range=[1, 0]), "grader.range"),
        ({"type": "multi", "name": "m", "graders": CHECK, "calculate_output": "other"}, "grader"),
        ({"type": "multi", "name": "m", "graders": CHECK, "calculate_output": "__import__('os')"}, "grader"),
        ({"type": "magic", "name": "m"}, "grader.type"),
    ],
)
def test_a_wrong_configuration_is_refused_with_its_place(client: openai.OpenAI, grader: dict[str, Any], param: str) -> None:
    for call in (client.fine_tuning.alpha.graders.validate, lambda grader: run(client, grader, "x")):
        with pytest.raises(openai.BadRequestError) as refused:
            call(grader=grader)  # type: ignore[arg-type]
        assert refused.value.param == param


def test_source_that_is_no_python_and_a_judge_that_nobody_knows_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="SyntaxError"):
        client.fine_tuning.alpha.graders.validate(grader={**PYTHON, "source": "def grade(:"})  # type: ignore[arg-type]
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.fine_tuning.alpha.graders.validate(grader={**judge("x"), "model": "nobody"})  # type: ignore[arg-type]


async def test_async(server: LiveServer) -> None:
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        graders = client.fine_tuning.alpha.graders
        given = await asyncio.gather(
            graders.run(grader=CHECK, model_sample="yes", item={"answer": "yes"}),  # type: ignore[arg-type]
            graders.run(grader=PYTHON, model_sample="yes", item={"answer": "yes"}),  # type: ignore[arg-type]
            graders.run(grader=judge('{"reasoning": "", "score": 0.25}'), model_sample="yes"),  # type: ignore[arg-type]
        )
        assert [each.reward for each in given] == [1.0, 0.5, 0.25]
        assert (await graders.validate(grader=CHECK)).grader is not None  # type: ignore[arg-type]


@pytest.mark.engine
def test_while_a_hostile_regex_runs_the_gateway_goes_on_answering(client: openai.OpenAI) -> None:
    source = "import re\ndef grade(sample, item):\n    return bool(re.match('(a+)+$', sample['output_text']))\n"
    with concurrent.futures.ThreadPoolExecutor() as threads:
        hostile = threads.submit(run, client, {**PYTHON, "source": source}, "a" * 60 + "b")
        answered = 0
        while not hostile.done():
            client.models.list()
            assert run(client, CHECK, "yes", answer="yes").reward == 1.0
            answered += 1
        graded = hostile.result()
    assert flags(graded) == ["python_grader_runtime_error"]
    assert answered >= 10, "ten seconds of it"
