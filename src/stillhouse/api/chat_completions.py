"""`POST /v1/chat/completions`: one request in, one model asked, its answer out. What was stored is read in `stored`."""

from __future__ import annotations

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.parameters import check_request
from stillhouse.api.raw_bodies import ChatBody
from stillhouse.api.streams import serve_stream
from stillhouse.capture import Capture, Origin, Recorder
from stillhouse.chat import ChatRequest
from stillhouse.routing import Router


class Completions:
    """Handler of the one route that all traffic takes."""

    def __init__(self, router: Router, recorder: Recorder, max_body_bytes: int) -> None:
        self._router = router
        self._recorder = recorder
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", "/v1/chat/completions", self.create, Policy.KEY),
        ]

    @takes(ChatBody)
    async def create(self, call: Call) -> Reply | None:
        request = ChatRequest(await call.body(self._max_body_bytes), call.headers)
        check_request(request)
        target = self._router.resolve(request.model)
        capture = Capture(target.model, self._recorder, Origin(target.upstream, target.name, target.may_train))
        if not request.stream:
            response = await capture.complete(request)
            return Reply(200, response.raw, response.headers)
        events = capture.record_stream(request) if request.store else capture.stream(request)
        await serve_stream(call, events)
        return None
