"""`/v1/fine_tuning`: jobs, their events and checkpoints, and who may use a checkpoint. What a job is stands in `finetuning`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, Field

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body
from stillhouse.api.describing import one_of, takes
from stillhouse.api.endpoint import Line
from stillhouse.api.pages import MAX_PAGE, PageQuery, list_body, page_among
from stillhouse.api.parameters import check_metadata
from stillhouse.document import Document
from stillhouse.errors import InvalidParameterError, NotFoundError
from stillhouse.filing import Filing
from stillhouse.finetuning import creating
from stillhouse.finetuning.bodies import checkpoint_bodies, events_body, job_body
from stillhouse.finetuning.creating import Job
from stillhouse.finetuning.refusals import RefusedError
from stillhouse.finetuning.request import JobRequest
from stillhouse.ids import new_id
from stillhouse.workspace import Workspace

JOBS = "/v1/fine_tuning/jobs"
JOB = JOBS + "/{job_id}"
PERMISSIONS = "/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions"
PERMISSION = "checkpoint.permission"
MAX_PROJECTS = 50


class Projects(BaseModel):
    """The body of `permissions.create`."""

    project_ids: list[str] = Field(min_length=1, max_length=MAX_PROJECTS)


class FineTuning:
    """Handlers; whatever reads the store runs in a thread."""

    def __init__(self, workspace: Workspace, filing: Filing, max_body_bytes: int) -> None:
        self._workspace = workspace
        self._filing = filing
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", JOBS, self.create, Policy.KEY),
            ("GET", JOBS, self.list, Policy.KEY),
            ("GET", JOB, self.retrieve, Policy.KEY),
            ("POST", JOB + "/cancel", self.cancel, Policy.KEY),
            ("POST", JOB + "/pause", self.pause, Policy.KEY),
            ("POST", JOB + "/resume", self.resume, Policy.KEY),
            ("GET", JOB + "/events", self.events, Policy.KEY),
            ("GET", JOB + "/checkpoints", self.checkpoints, Policy.KEY),
        ]

    @takes(JobRequest)
    async def create(self, call: Call) -> Reply:
        request = parse_body(JobRequest, await call.body(self._max_body_bytes))
        check_metadata(request.metadata)
        try:
            job = await asyncio.to_thread(creating.create, self._workspace, self._filing, request)
        except RefusedError as exc:
            raise refusal(exc) from exc
        return Reply.of(job_body(job))

    @takes(most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        page = PageQuery(call.query, order="desc")
        where = {"marked": "no"} if call.query.get("metadata") == "null" else {}
        jobs, more = await asyncio.to_thread(creating.page, self._workspace, page.documents(creating.KIND, where=where))
        return Reply.of(list_body([job_body(job) for job in jobs], has_more=more))

    async def retrieve(self, call: Call) -> Reply:
        return Reply.of(job_body(await self._job(call)))

    async def cancel(self, call: Call) -> Reply:
        return await self._ask(call, creating.cancel)

    async def pause(self, call: Call) -> Reply:
        return await self._ask(call, creating.pause)

    async def resume(self, call: Call) -> Reply:
        return await self._ask(call, creating.resume)

    @takes(most=MAX_PAGE)
    async def events(self, call: Call) -> Reply:
        page, job, store = PageQuery(call.query), await self._job(call), self._workspace.store
        bodies, more = await asyncio.to_thread(events_body, store, job, limit=page.limit, after=page.after)
        return Reply.of(list_body(bodies, has_more=more))

    @takes(most=MAX_PAGE)
    async def checkpoints(self, call: Call) -> Reply:
        page, job = PageQuery(call.query, limit=10), await self._job(call)
        artifacts = await asyncio.to_thread(self._workspace.store.artifacts)
        return Reply.of(page_among(checkpoint_bodies(job, artifacts), page))

    async def _job(self, call: Call) -> Job:
        return await asyncio.to_thread(creating.find, self._workspace, call.path_parameter("job_id"))

    async def _ask(self, call: Call, verb: Callable[[Workspace, str], Job]) -> Reply:
        return Reply.of(job_body(await asyncio.to_thread(verb, self._workspace, call.path_parameter("job_id"))))


class Permissions:
    """Handlers of who may use a checkpoint: kept and listed. Here a key opens every model, so nothing is decided by them."""

    def __init__(self, workspace: Workspace, max_body_bytes: int) -> None:
        self._workspace = workspace
        self._max_body_bytes = max_body_bytes

    def routes(self) -> list[Line]:
        return [
            ("POST", PERMISSIONS, self.create, Policy.KEY),
            ("GET", PERMISSIONS, self.list, Policy.KEY),
            ("DELETE", PERMISSIONS + "/{permission_id}", self.delete, Policy.KEY),
        ]

    @takes(Projects)
    async def create(self, call: Call) -> Reply:
        projects = parse_body(Projects, await call.body(self._max_body_bytes)).project_ids
        checkpoint, store = await self._checkpoint(call), self._workspace.store
        created = [_permission(checkpoint, project) for project in projects]
        for document in created:
            await asyncio.wrap_future(store.put_document(document))
        return Reply.of(list_body([_permission_body(document) for document in created], has_more=False))

    @takes(query={"order": one_of("ascending", "descending"), "project_id": {"type": "string"}}, most=MAX_PAGE)
    async def list(self, call: Call) -> Reply:
        page = PageQuery({**call.query, "order": _order(call.query.get("order"))})
        project = call.query.get("project_id")
        where = {} if project is None else {"project_id": project}
        query = page.documents(PERMISSION, parent=await self._checkpoint(call), where=where)
        found = await asyncio.to_thread(self._workspace.store.documents, query)
        return Reply.of(list_body([_permission_body(document) for document in found.items], has_more=found.has_more))

    async def delete(self, call: Call) -> Reply:
        permission, store = call.path_parameter("permission_id"), self._workspace.store
        document = await asyncio.to_thread(store.document, PERMISSION, permission)
        if document is None or document.parent != call.path_parameter("checkpoint"):
            raise NotFoundError(f"There is no such permission of this checkpoint: '{permission[:80]}'.")
        await asyncio.wrap_future(store.delete_document(PERMISSION, permission))
        return Reply.of({"id": permission, "object": PERMISSION, "deleted": True})

    async def _checkpoint(self, call: Call) -> str:
        name = call.path_parameter("checkpoint")
        artifacts = await asyncio.to_thread(self._workspace.store.artifacts)
        if not any(name in (artifact.name, artifact.id) for artifact in artifacts if artifact.run is not None):
            raise NotFoundError(f"There is no fine-tuned model or checkpoint '{name[:80]}'. See what there is: GET /v1/models")
        return name


def refusal(exc: RefusedError) -> InvalidParameterError:
    """A refused request, in the API's words."""
    told = InvalidParameterError(str(exc), exc.param or "body")
    told.code = exc.code
    return told


def _order(value: str | None) -> Literal["asc", "desc"]:
    """These lists alone write the order out."""
    if value not in (None, "ascending", "descending"):
        raise InvalidParameterError(f"'order' must be 'ascending' or 'descending', got '{value[:40]}'.", "order")
    return "asc" if value == "ascending" else "desc"


def _permission(checkpoint: str, project: str) -> Document:
    record = {"project_id": project, "checkpoint": checkpoint}
    return Document(kind=PERMISSION, id=new_id("cp"), parent=checkpoint, created=int(time.time()), record=record)


def _permission_body(document: Document) -> dict[str, Any]:
    project = document.record["project_id"]
    return {"id": document.id, "object": PERMISSION, "created_at": document.created, "project_id": project}
