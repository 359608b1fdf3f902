"""A student as a client sees it: answers, streams and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stillhouse.artifacts import register
from stillhouse.chat import ChatRequest
from stillhouse.errors import ContextLengthError, OverloadedError, UpstreamError, UsageError
from stillhouse.models.student import StudentModel
from tests.models.asking import ask, content_of


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def model(folder: Path) -> AsyncIterator[StudentModel]:
    """One child for all tests of this file that do not count on its limits."""
    model = StudentModel(folder, model_id="student-1", threads=1)
    yield model
    await model.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_answer_has_openais_shape(model: StudentModel) -> None:
    response = await model.complete(ask(n=2))
    assert response.id is not None
    assert response.body["object"] == "chat.completion"
    assert response.body["model"] == "student-1"
    assert [choice["index"] for choice in response.choices] == [0, 1]
    assert all(choice["finish_reason"] == "length" for choice in response.choices)
    assert response.body["usage"] == {"prompt_tokens": 12, "completion_tokens": 16, "total_tokens": 28}


async def test_a_stream_says_what_the_whole_answer_says(model: StudentModel) -> None:
    whole = await model.complete(ask(max_tokens=40))
    chunks = [chunk async for chunk in model.stream(ask(max_tokens=40, stream=True, stream_options={"include_usage": True}))]
    assert content_of(chunks) == whole.text
    assert chunks[-1].is_done
    usage = chunks[-2].body
    assert usage is not None
    assert usage["choices"] == []
    assert usage["usage"] == whole.body["usage"]
    assert chunks[-3].finish_reasons == {0: "length"}


async def test_openais_own_types_accept_both(model: StudentModel) -> None:
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    response = await model.complete(ask(logprobs=True, top_logprobs=2))
    assert ChatCompletion.model_validate(response.body, strict=True).choices[0].logprobs is not None
    async for chunk in model.stream(ask(logprobs=True)):
        if chunk.body is not None:
            ChatCompletionChunk.model_validate(chunk.body, strict=True)


async def test_many_at_once_get_the_answers_of_one_by_one(model: StudentModel) -> None:
    requests = [ask(text, max_tokens=20) for text in ("a", "bc", "hello there", "x" * 50, "why", "z")]
    together = await asyncio.gather(*(model.complete(request) for request in requests))
    for request, response in zip(requests, together, strict=True):
        assert (await model.complete(request)).text == response.text


async def test_a_seed_is_kept_in_any_company(model: StudentModel) -> None:
    request = ask(temperature=1.0, seed=11, max_tokens=30)
    first = await model.complete(request)
    among = await asyncio.gather(model.complete(request), *(model.complete(ask(temperature=1.0)) for _ in range(5)))
    assert among[0].text == first.text


async def test_text_parts_are_read_as_text(model: StudentModel) -> None:
    parts = ChatRequest.build(
        "x", [{"role": "user", "content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}], temperature=0
    )
    assert (await model.complete(parts)).text == (await model.complete(ask("hello", max_tokens=None))).text


async def test_a_prompt_beyond_the_context_is_an_error_with_openais_code(model: StudentModel) -> None:
    with pytest.raises(ContextLengthError, match="256") as caught:
        await model.complete(ask("x" * 300))
    assert (caught.value.http_status, caught.value.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n": 9}, "n: .*less than or equal to 8, got 9"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 10**9}, "max_tokens"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"stop": ""}, "stop.*at least 1 character"),
        ({"temperature": "hot"}, "temperature"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
    ],
)
async def test_parameters_out_of_bounds_are_the_callers_mistake(
    model: StudentModel, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        await model.complete(ask(**parameters))


async def test_a_message_that_is_not_text_is_refused(model: StudentModel) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(UsageError, match="image_url"):
        await model.complete(ChatRequest.build("x", [{"role": "user", "content": [image]}]))
    with pytest.raises(UsageError, match="messages"):
        await model.complete(ChatRequest.build("x", []))


async def test_beyond_the_queue_is_overload_and_then_there_is_room_again(folder: Path) -> None:
    model = StudentModel(folder, model_id="student-1", queue=2, batch=1, threads=1)
    try:
        results = await asyncio.gather(*(model.complete(ask()) for _ in range(8)), return_exceptions=True)
        refused = [result for result in results if isinstance(result, OverloadedError)]
        assert len(refused) == 5
        assert all(error.retry_after >= 1 for error in refused)
        assert [result for result in results if not isinstance(result, OverloadedError | UpstreamError)][0].text  # type: ignore[union-attr]
        assert (await model.complete(ask())).text
    finally:
        await model.close()


async def test_more_choices_than_ever_fit_are_no_overload(folder: Path) -> None:
    model = StudentModel(folder, model_id="student-1", queue=2, batch=1, threads=1)
    with pytest.raises(UsageError, match="n = 4.* at most 3"):
        await model.complete(ask(n=4))
    await model.close()


async def test_a_classifier_is_served_by_the_same_process(tmp_path: Path) -> None:
    from stillhouse.students.linear import LinearStudent

    texts = ["lost card", "my card is lost", "card lost again", "change my pin", "new pin please", "the pin is wrong"]
    student = LinearStudent.fit(texts, ["card"] * 3 + ["pin"] * 3, {})
    student.save(tmp_path / "trained")
    artifact = register(tmp_path / "trained", tmp_path / "artifacts", kind="linear", parameters=student.parameters)
    model = StudentModel(tmp_path / "artifacts" / artifact.id, model_id="labels")
    try:
        assert (await model.complete(ask("I lost my card"))).text == "card"
        assert content_of([chunk async for chunk in model.stream(ask("which pin"))]) == "pin"
    finally:
        await model.close()
