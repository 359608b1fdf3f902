"""`cosine` by an upstream's embedder, as `STILLHOUSE_EMBEDDER` names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import UsageError
from stillhouse.gateway import Gateway
from stillhouse.graders.building import build
from stillhouse.grading import ForwardedEmbedder, means_of
from stillhouse.sample import sample_of
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.workspace import Workspace
from tests.fakes.server import add_upstream
from tests.fakes.upstream import FakeUpstream

COSINE: dict[str, Any] = {
    "type": "text_similarity",
    "name": "near",
    "input": "{{sample.output_text}}",
    "reference": "{{item.reference}}",
    "evaluation_metric": "cosine",
    "pass_threshold": 0.9,
}


async def test_what_was_opened_for_a_request_is_closed_behind_it(tmp_path: Path) -> None:
    with FakeUpstream() as upstream:
        add_upstream(tmp_path, upstream.base_url, "embedder")
        workspace = Workspace(Settings(data_dir=tmp_path))
        target = workspace.target("embedder")
        vectors = ForwardedEmbedder(lambda _: target, "embedder", closes=True)
        assert await vectors.embed(["abc", "d"]) == [[3.0, 0.0], [1.0, 1.0]]
        await vectors.embed(["abc"])
        assert upstream.connections == 2, "none is left open"
        workspace.close()


async def test_the_vectors_are_the_upstreams(tmp_path: Path) -> None:
    """The fake's vectors are (length of the text, its place): (4, 0) and (3, 1) here."""
    with FakeUpstream() as upstream:
        add_upstream(tmp_path, upstream.base_url, "gpt-4o", "embedder")
        settings = Settings(data_dir=tmp_path, embedder="embedder")
        store = open_store(settings)
        gateway = Gateway(store, settings)
        gateway.refresh()
        grader = build(COSINE, means_of(settings, gateway.router.resolve, lambda name: gateway.router.resolve(name).model))
        grade = await grader.grade({"reference": "abc"}, sample_of("abcd"))
        assert grade.score == pytest.approx(12 / (4 * 10**0.5)) and grade.passed
        assert "embedder" in str(grade.details["rule"])
        assert [(served.path, served.body["model"]) for served in upstream.ledger] == [("/v1/embeddings", "embedder")]
        local = settings.model_copy(update={"embedder": "builtin:base"})
        grader = build(COSINE, means_of(local, gateway.router.resolve, lambda name: gateway.router.resolve(name).model))
        with pytest.raises(UsageError, match="STILLHOUSE_EMBEDDER"):
            await grader.grade({"reference": "abc"}, sample_of("abcd"))
        await gateway.close()
        store.close()
