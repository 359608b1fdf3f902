"""`GET /v1/models`: the upstreams' models, the students, and the aliases that routes gave them."""

from __future__ import annotations

from typing import Any

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.endpoint import Line
from stillhouse.routing import ModelNotFoundError, Router, Target


class Models:
    """Handlers."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def routes(self) -> list[Line]:
        return [
            ("GET", "/v1/models", self.list, Policy.KEY),
            ("GET", "/v1/models/{model:path}", self.retrieve, Policy.KEY),
        ]

    async def list(self, call: Call) -> Reply:
        listed = [(name, self._router.listed(name)) for name in self._router.names]
        return Reply.of({"object": "list", "data": [_model(name, target) for name, target in listed if target is not None]})

    async def retrieve(self, call: Call) -> Reply:
        name = call.path_parameter("model")
        target = self._router.listed(name)
        if target is None:
            raise ModelNotFoundError(f"The model '{name[:80]}' does not exist. See what there is: GET /v1/models")
        return Reply.of(_model(name, target))


def _model(name: str, target: Target) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": target.created, "owned_by": target.owner}
