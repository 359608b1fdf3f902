"""One ASGI application, one lifespan: the parts of the server, joined.

It opens neither the store nor a socket: both are handed in, so that tests and commands decide where things lie.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from stillhouse.api.access import Access
from stillhouse.api.aliases import Aliases
from stillhouse.api.answering import asking_resources
from stillhouse.api.asgi import Receive, Reply, Scope, Send
from stillhouse.api.batches import Batches
from stillhouse.api.endpoint import Resource
from stillhouse.api.errors import envelope, error_reply
from stillhouse.api.eval_pages import EvalPages
from stillhouse.api.eval_runs import EvalRuns
from stillhouse.api.evals import Evals
from stillhouse.api.files import UploadedFiles
from stillhouse.api.fine_tuning import FineTuning, Permissions
from stillhouse.api.graders import Graders
from stillhouse.api.health import Health
from stillhouse.api.models import Models
from stillhouse.api.openapi import OpenAPI
from stillhouse.api.routes import fixed_endpoints, lines_of, refuse_unclassified, routes
from stillhouse.api.stored import StoredCompletions
from stillhouse.api.uploads import UploadsInParts
from stillhouse.api.webhooks import WebhookEndpoints
from stillhouse.api.writes import Writes
from stillhouse.capture import Recorder
from stillhouse.errors import StillhouseError
from stillhouse.filing import Filing, Uploads
from stillhouse.finetuning.creating import KIND as JOB
from stillhouse.finetuning.creating import WORK as TUNING_WORK
from stillhouse.gateway import Gateway
from stillhouse.grading import judge_of, means_of
from stillhouse.ids import new_id, uuid7_hex
from stillhouse.jobs.dispatching import Dispatcher, Observer
from stillhouse.jobs.evals import EVAL_RUN
from stillhouse.jobs.evals import WORK as EVAL_WORK
from stillhouse.jobs.forgetting import finish as finish_deletions
from stillhouse.metering import Meter
from stillhouse.run import Run
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.webhook import event_of
from stillhouse.webhooks import Outbox, Poster
from stillhouse.workspace import Workspace

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30.0
"""How long recordings whose clients have left may go on when the server is asked to stop."""
READERS_BY_WORK = {EVAL_WORK: EVAL_RUN, TUNING_WORK: JOB}
"""Kinds of runs that read uploaded files -> the kinds of documents that hold them."""
SWEEP_SECONDS = 600.0
"""How often files whose time is over are removed from the disk (from the lists they go at once), and deletions finished."""


class App:
    """The server as an ASGI application.

    `apply_writes` and `token` are for commands that write through it; without them `/api/writes` refuses everybody.
    `observers` hear of every run that has ended.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        apply_writes: Callable[[bytes], bytes] | None = None,
        token: str | None = None,
        instance: str | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._store = store
        self._settings = settings
        self.gateway = Gateway(store, settings)
        self.meter = Meter(store)
        self.recorder = Recorder(store, settings, instance or new_id("server"), self.meter.count)
        self.access = Access(settings, token)
        self.filing = Filing(store, settings)
        self.uploads = Uploads(store, self.filing)
        self._poster = Poster(settings.webhook_hosts)
        self.outbox = Outbox(store, self._poster)
        self.dispatcher = Dispatcher(store, settings, observers=(self._note_end, *observers))
        table = self._routes(apply_writes or _refuse_writes)
        refuse_unclassified(table)
        self._inner = Starlette(routes=table, lifespan=self._lifespan, exception_handlers={HTTPException: _http_error})
        self._inner.router.redirect_slashes = False
        self._fixed = fixed_endpoints(table)

    def _routes(self, apply_writes: Callable[[bytes], bytes]) -> list[BaseRoute]:
        store, settings, router = self._store, self._settings, self.gateway.router
        workspace = Workspace.over(settings, store)
        resources: list[Resource] = [
            *asking_resources(router, self.recorder, store, settings),
            StoredCompletions(store, settings),
            Models(router, workspace, self.refresh),
            Graders(means_of(settings, router.resolve, judge_of(router)), settings.max_body_bytes),
            UploadedFiles(self.filing, settings.max_file_bytes),
            UploadsInParts(self.uploads, self.filing, settings.max_upload_bytes),
            Batches(store, settings, self.filing),
            FineTuning(workspace, self.filing, settings.max_body_bytes),
            Permissions(workspace, settings.max_body_bytes),
            Aliases(store, router, self.refresh),
            Evals(store, settings),
            EvalRuns(store, settings, router),
            EvalPages(store, settings),
            WebhookEndpoints(store, self.outbox, self._poster),
            Health(self.recorder),
            Writes(apply_writes, self.refresh),
        ]
        return routes(self.access, [*resources, OpenAPI(lines_of(resources))])

    def refresh(self) -> None:
        """Put what the store says now in force: models, routes, keys."""
        self.gateway.refresh()
        self.access.set_keys(self._store.keys())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, _with_headers(send))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.access.check_origin(scope)
        except StillhouseError as exc:
            await error_reply(exc).send(send)
            return
        # A path without parameters needs no router: all traffic takes such a one, and starlette's layers cost it 0.1 ms.
        app = self._fixed.get((scope["method"], scope["path"]), self._inner)
        await app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self.refresh()
        dispatching = asyncio.create_task(self.dispatcher.run())
        background = [asyncio.create_task(work) for work in (self.meter.run(), self._sweep(), self.outbox.run())]
        try:
            yield
        finally:
            self.dispatcher.stop()
            await self.recorder.drain(DRAIN_SECONDS)
            await dispatching
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self.meter.flush()
            await self._poster.close()
            await self.gateway.close()

    async def _note_end(self, run: Run) -> None:
        if run.ref and run.kind in READERS_BY_WORK:
            await asyncio.to_thread(self.filing.release, READERS_BY_WORK[run.kind], run.ref)
        event = event_of(run)
        if event is not None:
            await self.outbox.note(event)

    async def _sweep(self) -> None:
        finish = partial(finish_deletions, self._store, self._settings)
        while True:
            for sweep in (self.uploads.sweep, self.filing.sweep, finish):
                try:
                    await asyncio.to_thread(sweep)
                except StillhouseError as exc:
                    log.error("what is to go could not be removed: %s", exc)
            await asyncio.sleep(SWEEP_SECONDS)


def _with_headers(send: Send) -> Send:
    """Every response has a request id, which becomes the SDK's `request_id`, and is nothing a browser should guess at."""
    added = [(b"x-request-id", b"req_" + uuid7_hex().encode()), (b"x-content-type-options", b"nosniff")]

    async def send_with_headers(message: Scope) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return send_with_headers


async def _http_error(request: Request, exc: Exception) -> Response:
    """No such route or method, in OpenAI's envelope."""
    status = exc.status_code if isinstance(exc, HTTPException) else 404
    asked = f"{request.method} {request.scope['path']}"
    message = f"Invalid URL ({asked})" if status == 404 else f"{asked} is not offered"
    reply = Reply.of(envelope(message, status, "not_found" if status == 404 else "method_not_allowed"), status)
    headers = {**reply.headers, **(dict(exc.headers or {}) if isinstance(exc, HTTPException) else {})}
    return Response(reply.body, status, headers)


def _refuse_writes(_: bytes) -> bytes:
    raise AssertionError("no token was given, so nobody gets here")
