"""The OpenAPI document is valid, tells every route, and describes the bodies that the handlers take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from stillhouse.app import App
from tests.api.test_access import GOLDEN
from tests.fakes.asgi import call

CHAPTER = Path(__file__).parent.parent.parent / "docs" / "api.md"


@pytest.fixture
async def document(app: App) -> dict[str, Any]:
    answer = await call(app, "GET", "/openapi.json")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


async def test_it_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_but_the_servers_own_is_told(document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    there = {(method, path.replace(":path}", "}")) for method, path in GOLDEN if path != "/api/writes"}
    assert told == there


async def test_what_takes_a_json_body_says_which(document: dict[str, Any]) -> None:
    """A POST without one is an action on what its path names."""
    bare = {
        path for path, operations in document["paths"].items() if "post" in operations and "requestBody" not in operations["post"]
    }
    assert all(path.endswith(("/cancel", "/pause", "/resume", "/rollback", "{run_id}")) for path in bare), bare


def test_the_chapter_has_a_line_for_every_method_of_the_resources_we_answer() -> None:
    told = CHAPTER.read_text(encoding="utf-8")
    client = openai.OpenAI(api_key="none")
    resources = {
        "files": client.files,
        "uploads": client.uploads,
        "batches": client.batches,
        "webhooks": client.webhooks,
        "evals": client.evals,
        "evals.runs": client.evals.runs,
        "evals.runs.output_items": client.evals.runs.output_items,
        "fine_tuning.jobs": client.fine_tuning.jobs,
        "fine_tuning.jobs.checkpoints": client.fine_tuning.jobs.checkpoints,
        "fine_tuning.checkpoints.permissions": client.fine_tuning.checkpoints.permissions,
        "fine_tuning.alpha.graders": client.fine_tuning.alpha.graders,
        "chat.completions": client.chat.completions,
        "chat.completions.messages": client.chat.completions.messages,
        "responses": client.responses,
        "models": client.models,
    }
    missing = [
        f"{name}.{method}"
        for name, resource in resources.items()
        for method in dir(type(resource))
        if not method.startswith(("_", "with_")) and callable(getattr(type(resource), method))
        if f"`{name}.{method}`" not in told and f"`.{method}`" not in _row(told, name)
    ]
    assert not missing, f"docs/api.md says nothing of {missing}"


def _row(chapter: str, name: str) -> str:
    """The lines of the table that begin with a method of this resource."""
    return "\n".join(line for line in chapter.splitlines() if line.startswith(f"| `{name}."))
