"""`/v1/models`: the upstreams' models, the students, their aliases, and what can be fine-tuned; students can be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.endpoint import Line
from stillhouse.errors import InvalidParameterError
from stillhouse.finetuning.bases import ARCHITECTURES
from stillhouse.finetuning.creating import delete_model
from stillhouse.finetuning.refusals import RefusedError
from stillhouse.routing import ModelNotFoundError, Router, Target
from stillhouse.workspace import Workspace


class Models:
    """Handlers."""

    def __init__(self, router: Router, workspace: Workspace, changed: Callable[[], None]) -> None:
        """`changed`: called when a model was taken away."""
        self._router = router
        self._workspace = workspace
        self._changed = changed

    def routes(self) -> list[Line]:
        return [
            ("GET", "/v1/models", self.list, Policy.KEY),
            ("GET", "/v1/models/{model:path}", self.retrieve, Policy.KEY),
            ("DELETE", "/v1/models/{model:path}", self.delete, Policy.KEY),
        ]

    async def list(self, call: Call) -> Reply:
        listed = [(name, self._router.listed(name)) for name in self._router.names]
        answering = [_model(name, target) for name, target in listed if target is not None]
        return Reply.of({"object": "list", "data": [*answering, *(_to_be_trained(name) for name in ARCHITECTURES)]})

    async def retrieve(self, call: Call) -> Reply:
        name = call.path_parameter("model")
        target = self._router.listed(name)
        if target is None and name in ARCHITECTURES:
            return Reply.of(_to_be_trained(name))
        if target is None:
            raise ModelNotFoundError(f"The model '{name[:80]}' does not exist. See what there is: GET /v1/models")
        return Reply.of(_model(name, target))

    async def delete(self, call: Call) -> Reply:
        name = call.path_parameter("model")
        try:
            await asyncio.to_thread(delete_model, self._workspace, name)
        except RefusedError as exc:
            raise InvalidParameterError(str(exc), "model") from exc
        self._changed()
        return Reply.of({"id": name, "object": "model", "deleted": True})


def _model(name: str, target: Target) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": target.created, "owned_by": target.owner}


def _to_be_trained(name: str) -> dict[str, Any]:
    """A network without weights: it can be fine-tuned, and asked only afterwards."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "stillhouse",
        "stillhouse": {"about": ARCHITECTURES[name].about},
    }
