"""Fine-tuning jobs that ran elsewhere: what they were, what they said and what came of them, to be read here like one's own.

Their weights stay where they are; nothing of a rescued job can be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator

from stillhouse.document import Document
from stillhouse.finetuning.creating import KIND, WORK
from stillhouse.rescue.account import Account, Body
from stillhouse.run import Run, RunEvent, RunState
from stillhouse.stores.base import Store

ENDED: dict[str, RunState] = {"succeeded": "succeeded", "cancelled": "cancelled"}
AT_ONCE = 500


def bring_job(account: Account, store: Store, body: Body) -> bool:
    """The job with its events and checkpoints; its document comes last. False where it is here. Raises UpstreamError.

    One that has not ended there is left for a later time: raises ValueError.
    """
    job_id = str(body["id"])
    if store.document(KIND, job_id) is not None:
        return False
    if body.get("status") not in ("succeeded", "failed", "cancelled"):
        raise ValueError(f"it is {body.get('status')} still: import it again when it has ended")
    run = _run_of(job_id, body)
    events = list(_events(run.id, list(account.events(job_id))))
    store.put_run(run).result()
    for begin in range(0, len(events), AT_ONCE):
        store.add_events(events[begin : begin + AT_ONCE], run.epoch).result()
    metadata = body.get("metadata") or {}
    record = {
        "run": run.id,
        "metadata": metadata,
        "marked": "yes" if metadata else "no",
        "rescued": body,
        "checkpoints": list(account.checkpoints(job_id)),
    }
    store.put_document(Document(kind=KIND, id=job_id, created=run.created, record=record)).result()
    return True


def _run_of(job_id: str, body: Body) -> Run:
    created = int(body.get("created_at") or 0)
    error = body.get("error") or {}
    return Run(
        id=f"run-{job_id}",
        kind=WORK,
        name=str(body.get("fine_tuned_model") or job_id),
        state=ENDED.get(str(body["status"]), "failed"),
        created=created,
        spec={"rescued": True},
        ref=job_id,
        epoch=1,
        announced=True,  # it ended elsewhere, long ago
        started=created,
        finished=body.get("finished_at") or created,
        error=error.get("message"),
    )


def _events(run_id: str, newest_first: list[Body]) -> Iterator[RunEvent]:
    for number, event in enumerate(reversed(newest_first)):
        data = event.get("data") or {}
        metrics = {name: float(value) for name, value in data.items() if type(value) in (int, float) and name != "step"}
        step = data.get("step")
        yield RunEvent(
            run=run_id,
            seq=number,
            time=float(event.get("created_at") or 0),
            level=event.get("level") if event.get("level") in ("info", "warn", "error") else "info",
            message=str(event.get("message") or ""),
            step=step if isinstance(step, int) else None,
            metrics=metrics if event.get("type") == "metrics" else {},
        )
