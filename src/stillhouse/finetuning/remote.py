"""Jobs whose model an upstream trains: the files go there, its job is followed from here, its model answers here.

What was begun there is remembered before it is waited for, by the ids it has there, so a run that was killed goes on with the
same job. Paused or cancelled here is paused or cancelled there.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from stillhouse.errors import StillhouseError, UpstreamError, UsageError
from stillhouse.filing import Filing
from stillhouse.finetuning.bases import Base
from stillhouse.finetuning.refusals import JobFailedError
from stillhouse.finetuning.remembering import remember
from stillhouse.finetuning.request import JobRequest
from stillhouse.jobs.claim import Claim, answer
from stillhouse.jobs.student import PATIENCE_SECONDS
from stillhouse.models import MODELS
from stillhouse.run import Run
from stillhouse.upstream import Upstream
from stillhouse.workspace import Workspace

JOBS = "/fine_tuning/jobs"
MARK = "stillhouse_run"
"""Metadata that tells our jobs there, so that one whose creation nobody heard of is found again."""
POLL_SECONDS, LONGEST_POLL_SECONDS = 0.5, 15.0
"""Between two looks; longer the longer nothing new is heard."""
TROUBLES = 20
"""Looks in a row that may fail before the run does."""
METRICS = {
    "train_loss": "train/loss",
    "train_mean_token_accuracy": "train/token_accuracy",
    "valid_loss": "eval/loss",
    "full_valid_loss": "eval/loss",
    "valid_mean_token_accuracy": "eval/token_accuracy",
    "full_valid_mean_token_accuracy": "eval/token_accuracy",
}


def check_upstream(workspace: Workspace, base: Base, request: JobRequest) -> None:
    """Raises UsageError where the upstream does not fine-tune, or not by this method; UpstreamError where it cannot be asked."""
    distillation = request.way.distillation
    if distillation is not None and distillation.signal not in (None, "text"):
        raise UsageError(
            f"'{base.name}' is trained by its upstream, which takes texts: the signal '{distillation.signal}' needs a student "
            "whose weights are here."
        )
    try:
        asyncio.run(_once(_upstream(workspace, base.upstream or ""), "GET", f"{JOBS}?limit=1"))
    except UpstreamError as exc:
        if exc.status in (400, 404, 405, 501):
            raise UsageError(f"The upstream '{base.upstream}' of '{base.name}' does not offer fine-tuning ({exc})") from exc
        raise


def train_there(workspace: Workspace, run: Run, claim: Claim, request: JobRequest) -> dict[str, Any] | None:
    """The job, done by the upstream. None where it stopped as asked. Raises JobFailedError, UpstreamError."""
    return asyncio.run(_Remote(workspace, run, claim, request).go())


class _Remote:
    def __init__(self, workspace: Workspace, run: Run, claim: Claim, request: JobRequest) -> None:
        self._workspace = workspace
        self._run = run
        self._claim = claim
        self._request = request
        self._upstream = _upstream(workspace, str(run.spec["upstream"]))
        self._model = MODELS.resolve("openai")(self._upstream)
        self._stopped = asyncio.Event()

    async def go(self) -> dict[str, Any] | None:
        loop = asyncio.get_running_loop()
        self._claim.when_told(lambda: loop.call_soon_threadsafe(self._stopped.set))
        try:
            if "remote" not in self._run.spec:
                await self._begin()
            else:
                await self._ask_quietly("resume")
            return await self._follow()
        except UpstreamError as exc:
            raise JobFailedError(_said(exc), "upstream_error") from exc
        finally:
            await self._model.close()

    async def _begin(self) -> None:
        """Files, then the job; each remembered as soon as it is there."""
        filing = Filing(self._workspace.store, self._workspace.settings, held=self._run.spec.get("files"))
        for param in ("training_file", "validation_file"):
            file_id = getattr(self._request, param)
            if file_id is not None and f"remote_{param}" not in self._run.spec:
                self._claim.journal.append(f"Uploading {param.replace('_', ' ')} to {self._upstream.name}")
                there = await self._model.upload(filing.path_of(file_id), "fine-tune")
                self._run = remember(self._claim, self._run, **{f"remote_{param}": there})
        job = await self._created_before() or await self._send("POST", JOBS, orjson.dumps(self._body()))
        self._run = remember(self._claim, self._run, remote=job["id"])
        self._claim.journal.append(f"The upstream {self._upstream.name} trains it: {job['id']}")

    async def _created_before(self) -> dict[str, Any] | None:
        """Our job there, if a run that died created it."""
        if self._claim.epoch == 1:
            return None
        listed = await self._send("GET", f"{JOBS}?limit=20&metadata[{MARK}]={self._run.id}")
        mine = [job for job in listed.get("data", ()) if (job.get("metadata") or {}).get(MARK) == self._run.id]
        return mine[0] if mine else None

    def _body(self) -> dict[str, Any]:
        asked = self._request.model_dump(mode="json", exclude_unset=True, exclude={"distillation"})
        if self._request.way.type == "distillation":
            given = self._request.given.model_dump(mode="json", exclude_unset=True)
            asked["method"] = {"type": "supervised", "supervised": {"hyperparameters": given}}
        files = {param: self._run.spec[f"remote_{param}"] for param in ("training_file", "validation_file") if asked.get(param)}
        metadata = asked.get("metadata") or {}
        marked = {**metadata, MARK: self._run.id} if len(metadata) < 16 else metadata
        return {**asked, **files, "seed": self._run.spec["seed"], "metadata": marked}

    async def _follow(self) -> dict[str, Any] | None:
        """Look until it has ended, and say here what it says there."""
        wait, troubles = POLL_SECONDS, 0
        while not self._claim.should_stop:
            try:
                job = await self._send("GET", f"{JOBS}/{self._run.spec['remote']}")
                heard = await self._mirror()
                troubles = 0
            except UpstreamError as exc:
                troubles += 1
                if troubles >= TROUBLES or exc.status in (401, 403, 404):
                    raise
                job, heard = {}, False
            if job.get("status") in ("succeeded", "failed", "cancelled"):
                await self._mirror()
                return await self._ended(job)
            wait = POLL_SECONDS if heard else min(wait * 1.5, LONGEST_POLL_SECONDS)
            try:
                await asyncio.wait_for(self._stopped.wait(), wait)
            except TimeoutError:
                continue
        await self._stop()
        return None

    async def _stop(self) -> None:
        """Paused or cancelled there as here. A process that is only told to end leaves it as it is."""
        now = self._workspace.store.run(self._run.id)
        verb = {"cancelling": "cancel", "pausing": "pause"}.get("" if now is None else now.state)
        if verb is not None:
            await self._ask_quietly(verb)

    async def _mirror(self) -> bool:
        """Events that are new since the last look, oldest first; whether there were any."""
        last, new, after = self._run.spec.get("remote_event"), list[dict[str, Any]](), ""
        while True:
            page = await self._send("GET", f"{JOBS}/{self._run.spec['remote']}/events?limit=100{after}")
            events = page.get("data", [])
            fresh = _until(events, last)
            new += fresh
            if len(fresh) < len(events) or not page.get("has_more") or not events:
                break
            after = f"&after={events[-1]['id']}"
        for event in reversed(new):
            self._tell(event)
        if new:
            self._run = remember(self._claim, self._run, remote_event=new[0]["id"])
        return bool(new)

    def _tell(self, event: dict[str, Any]) -> None:
        data = event.get("data") or {}
        step = data.get("step")
        numbers = {METRICS[name]: float(value) for name, value in data.items() if name in METRICS and value is not None}
        level = event.get("level")
        self._claim.journal.append(
            str(event.get("message", "")),
            step=int(step) if isinstance(step, int | float) else None,
            metrics=numbers,
            level=level if level in ("info", "warn", "error") else "info",
        )
        if numbers and step is not None:
            self._claim.progress(int(step), data.get("total_steps"))

    async def _ended(self, job: dict[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in (job.get("hyperparameters") or {}).items() if isinstance(value, int | float)}
        checkpoints = await self._ask_quietly("checkpoints", "GET")
        self._run = remember(self._claim, self._run, hyperparameters=shown, checkpoints=(checkpoints or {}).get("data", []))
        if job["status"] != "succeeded":
            error = job.get("error") or {}
            message = error.get("message") or f"The upstream's job {job['id']} is {job['status']}."
            raise JobFailedError(message, error.get("code") or f"upstream_{job['status']}", error.get("param"))
        name = str(job["fine_tuned_model"])
        self._offer(name)
        return {
            "fine_tuned_model": name,
            "trained_tokens": job.get("trained_tokens"),
            "result_files": [await self._fetch(file_id) for file_id in job.get("result_files") or ()],
        }

    def _offer(self, name: str) -> None:
        """The new model is one of the upstream's, for the gateway as for everybody."""
        known = _upstream(self._workspace, self._upstream.name)
        if known.models and name not in known.models:
            changed = known.model_copy(update={"models": (*known.models, name)})
            self._claim.insist(lambda store: answer(store.put_upstream(changed)), PATIENCE_SECONDS)

    async def _fetch(self, file_id: str) -> str:
        content = await self._model.send("GET", f"/files/{file_id}/content")
        filing = Filing(self._workspace.store, self._workspace.settings)
        return filing.keep(content, "step_metrics.csv", "fine-tune-results").id

    async def _send(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        return _object(await self._model.send(method, path, body), self._upstream.name)

    async def _ask_quietly(self, verb: str, method: str = "POST") -> dict[str, Any] | None:
        """What it says; None where it does not do this, or not now."""
        try:
            return await self._send(method, f"{JOBS}/{self._run.spec['remote']}/{verb}", b"" if method == "POST" else None)
        except StillhouseError:
            return None


async def _once(upstream: Upstream, method: str, path: str) -> None:
    model = MODELS.resolve("openai")(upstream)
    try:
        await model.send(method, path)
    finally:
        await model.close()


def _upstream(workspace: Workspace, name: str) -> Upstream:
    found = next((upstream for upstream in workspace.store.upstreams() if upstream.name == name), None)
    if found is None:
        raise UsageError(f"There is no upstream '{name}' any more. See what there is with: stillhouse upstream list")
    return found


def _until(events: list[dict[str, Any]], last: Any) -> list[dict[str, Any]]:
    """Those newer than `last`; the newest come first."""
    ids = [event.get("id") for event in events]
    return events[: ids.index(last)] if last in ids else events


def _object(body: bytes, name: str) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise UpstreamError(f"The upstream '{name}' answered no JSON: {exc}.") from exc
    if not isinstance(value, dict):
        raise UpstreamError(f"The upstream '{name}' answered no JSON object.")
    return value


def _said(exc: UpstreamError) -> str:
    """The upstream's own words where it has some."""
    try:
        return f"{exc} {orjson.loads(exc.body)['error']['message']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return str(exc)
