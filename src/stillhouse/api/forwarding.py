"""`POST /v1/embeddings` and the legacy `POST /v1/completions`: passed to the upstream that has the model, and back as it came.

They are counted like any other request and kept nowhere: what students are made of is chat.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.parameters import check_common
from stillhouse.api.raw_bodies import EmbeddingsBody, LegacyBody
from stillhouse.api.streams import serve_stream
from stillhouse.capture import Recorder
from stillhouse.chat import ChatRequest, ChatResponse, Chunk, Forwarder, Usage
from stillhouse.errors import InvalidParameterError
from stillhouse.routing import Router, Target


class Forwarding:
    """Handlers."""

    def __init__(self, router: Router, recorder: Recorder, max_body_bytes: int) -> None:
        self._router = router
        self._recorder = recorder
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", "/v1/embeddings", self.embeddings, Policy.KEY),
            ("POST", "/v1/completions", self.completions, Policy.KEY),
        ]

    @takes(EmbeddingsBody)
    async def embeddings(self, call: Call) -> Reply | None:
        return await self._forward(call, "/embeddings")

    @takes(LegacyBody)
    async def completions(self, call: Call) -> Reply | None:
        return await self._forward(call, "/completions")

    async def _forward(self, call: Call, path: str) -> Reply | None:
        request = ChatRequest(await call.body(self._max_body_bytes), call.headers)
        check_common(request.body)
        target = self._router.resolve(request.model)
        if not request.stream:
            response = await answer_forwarded(target, path, request, self._recorder)
            return Reply(200, response.raw, response.headers)
        await serve_stream(call, self._counted(target, path, request))
        return None

    async def _counted(self, target: Target, path: str, request: ChatRequest) -> AsyncIterator[Chunk]:
        forwarder, usage, done = _forwarder(target, path), Usage(), False
        try:
            async for chunk in forwarder.forward_stream(path, request.with_model(target.name)):
                if chunk.body and chunk.body.get("usage"):
                    usage = Usage.of(chunk.body)
                done = done or chunk.is_done
                yield chunk
        finally:
            self._recorder.count(target.upstream, target.name, stored=False, failed=not done, usage=usage)


async def answer_forwarded(target: Target, path: str, request: ChatRequest, recorder: Recorder) -> ChatResponse:
    """What the upstream says at `path` (`/embeddings`, `/completions`). Raises InvalidParameterError, UpstreamError."""
    forwarder, usage, failed = _forwarder(target, path), Usage(), True
    try:
        response = await forwarder.forward(path, request.with_model(target.name))
        usage, failed = response.usage, False
        return response
    finally:
        recorder.count(target.upstream, target.name, stored=False, failed=failed, usage=usage)


def _forwarder(target: Target, path: str) -> Forwarder:
    if target.forwarder is None:
        raise InvalidParameterError(
            f"The model '{target.name}' lies on this machine and answers chat requests, not {path}: ask it by chat.completions, "
            "with logprobs=True where likelihoods are wanted. 'echo' is offered by upstreams alone.",
            "model",
        )
    return target.forwarder
