"""The official SDK's evals against the real server; strict validation is on. Their runs are in `test_eval_runs`."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.fakes.server import LiveServer
from tests.sdk.sums import (
    CRITERIA,
    CUSTOM,
    ENDED,
    RIGHT,
    SCHEMA,
    asking,
    ended,
    server,
    upstream,
)

pytestmark = pytest.mark.usefixtures("forked_workers")
__all__ = ["server", "upstream"]


def test_an_eval_is_made_read_changed_listed_and_deleted(client: openai.OpenAI) -> None:
    created = client.evals.create(data_source_config=CUSTOM, testing_criteria=CRITERIA, name="sums", metadata={"task": "sums"})
    assert created.object == "eval" and created.metadata == {"task": "sums"}
    assert created.data_source_config.type == "custom"
    shown: Any = created.data_source_config.schema_
    assert shown["properties"]["item"] == SCHEMA and shown["required"] == ["item", "sample"]
    assert [criterion.type for criterion in created.testing_criteria] == [criterion["type"] for criterion in CRITERIA]
    assert client.evals.retrieve(created.id).model_dump() == created.model_dump()

    updated = client.evals.update(created.id, name="more sums", metadata={"task": "other"})
    assert (updated.name, updated.metadata) == ("more sums", {"task": "other"})
    assert client.evals.update(created.id, metadata=None).metadata == {}

    deleted = client.evals.delete(created.id)
    assert (deleted.deleted, deleted.eval_id, deleted.object) == (True, created.id, "eval.deleted")
    for gone in (lambda: client.evals.retrieve(created.id), lambda: client.evals.delete(created.id)):
        with pytest.raises(openai.NotFoundError):
            gone()


def test_lists_have_pages_and_two_orders(client: openai.OpenAI) -> None:
    before = {each.id for each in client.evals.list(limit=100)}
    made = [client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT], name=str(n)).id for n in range(5)]
    ours = [each.id for each in client.evals.list(limit=2) if each.id not in before]
    assert ours == made
    assert [each.id for each in client.evals.list(limit=3, order="desc")][:5] == made[::-1]
    client.evals.update(made[1], name="changed")
    updated = [each.id for each in client.evals.list(limit=2, order_by="updated_at", order="desc")]
    assert set(updated) >= set(made) and updated.index(made[1]) <= 5
    for identifier in made:
        client.evals.delete(identifier)


def test_ours_come_back_as_something_the_sdk_knows(client: openai.OpenAI) -> None:
    made = client.evals.create(
        data_source_config={"type": "custom", "item_schema": {"type": "object"}},
        testing_criteria=[{"type": "answer", "name": "final"}],  # type: ignore[list-item]
    )
    (criterion,) = made.testing_criteria
    assert criterion.type == "string_check" and (criterion.model_extra or {})["stillhouse"]["type"] == "answer"
    content: Any = [{"item": {"reference": "1,000"}, "sample": {"output_text": "Let me see. The answer is 1000.0"}}]
    source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": content}}
    run = ended(client, client.evals.runs.create(made.id, data_source=source))
    assert (run.status, run.result_counts.passed) == ("completed", 1), run


async def test_the_async_client(server: LiveServer) -> None:
    import asyncio

    async with openai.AsyncOpenAI(base_url=server.url, api_key="none", _strict_response_validation=True, max_retries=0) as client:
        made = await client.evals.create(data_source_config=CUSTOM, testing_criteria=[RIGHT], name="async")
        assert (await client.evals.retrieve(made.id)).name == "async"
        assert (await client.evals.update(made.id, name="still")).name == "still"
        assert made.id in {each.id async for each in client.evals.list(limit=100)}
        run = await client.evals.runs.create(made.id, data_source=asking("student", 5))
        for _ in range(2400):
            found = await client.evals.runs.retrieve(run.id, eval_id=made.id)
            if found.status in ENDED:
                break
            await asyncio.sleep(0.05)
        assert found.status == "completed"
        assert [each.id async for each in client.evals.runs.list(made.id)] == [run.id]
        items = [each async for each in client.evals.runs.output_items.list(run.id, eval_id=made.id, limit=2)]
        assert len(items) == 5
        one = await client.evals.runs.output_items.retrieve(items[2].id, eval_id=made.id, run_id=run.id)
        assert one.id == items[2].id
        with pytest.raises(openai.ConflictError):
            await client.evals.runs.cancel(run.id, eval_id=made.id)
        assert (await client.evals.runs.delete(run.id, eval_id=made.id)).deleted
        assert (await client.evals.delete(made.id)).deleted
