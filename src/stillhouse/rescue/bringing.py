"""From an account into this data folder: kind by kind, everything under its own id, what is here already passed over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from stillhouse.completion import Completion
from stillhouse.document import Document
from stillhouse.errors import NotFoundError, StillhouseError
from stillhouse.filing import Filing
from stillhouse.formats.exchanges import Origin, exchange_of
from stillhouse.jobs.evals import EVAL, EVAL_RUN, RESCUED_ITEM, EvalRecord, EvalRunRecord
from stillhouse.rescue.account import Account, Body
from stillhouse.rescue.jobs import bring_job
from stillhouse.settings import Settings
from stillhouse.stores.base import Store

ASKED = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "tools", "tool_choice", "response_format")
"""What lists of stored completions tell of the request, besides its messages."""


PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals", "fine-tune-results", "batch_output")


class Tally(NamedTuple):
    """How one kind of thing went."""

    resource: str
    imported: int
    known: int
    aside: list[dict[str, str]]
    """`id` and `reason` of what could not be brought."""


class Place(NamedTuple):
    """Where things go."""

    store: Store
    settings: Settings
    origin: Origin
    """Who has answered the completions, and whether their answers may be trained on."""


Bring = Callable[[Account, Place, Body], bool]
"""One thing; False where it is here already. Raises StillhouseError, ValueError where it cannot be brought."""


def bring(account: Account, place: Place, resources: tuple[str, ...], say: Callable[[str], None]) -> Iterator[Tally]:
    """Each of `resources` in turn, with its tally. Raises UpstreamError when the account cannot be listed."""
    for resource in resources:
        every, one = RESOURCES[resource]
        imported = known = 0
        aside: list[dict[str, str]] = []
        for body in every(account):
            try:
                if one(account, place, body):
                    imported += 1
                else:
                    known += 1
            except (StillhouseError, ValueError) as exc:
                aside.append({"id": str(body.get("id")), "reason": str(exc)})
                say(f"Put aside: {resource} {body.get('id')}: {exc}")
            if (imported + known) % 100 == 0:
                say(f"{resource}: {imported} imported, {known} known already.")
        yield Tally(resource, imported, known, aside)


def _completion(account: Account, place: Place, body: Body) -> bool:
    """A stored completion: its bytes are the answer as listed, and a request put together from its messages and parameters."""
    identifier = str(body["id"])
    there = place.store.completion(identifier)
    if there is not None and there.state == "complete":
        return False
    messages = [_message(message) for message in account.messages(identifier)]
    asked = {name: body[name] for name in ASKED if body.get(name) is not None}
    metadata = body.get("metadata") or {}
    request = {"model": body.get("model"), "messages": messages, **asked, "store": True, "metadata": metadata}
    row = {"created": body.get("created"), "model": body.get("model"), "metadata": metadata, "request": request, "response": body}
    found = exchange_of(row, place.origin)
    kept: Completion = found.completion.model_copy(update={"id": identifier, "upstream_id": identifier})
    response = found.response.replace(found.completion.id.encode(), identifier.encode(), 1)
    place.store.begin_completion(kept.model_copy(update={"state": "started"}), found.request).result()
    place.store.finish_completion(kept, response).result()
    return True


def _message(message: Body) -> Body:
    """As it was sent: parts, where it had them, instead of the text that lists show."""
    parts = message.get("content_parts")
    sent = {
        name: value for name, value in message.items() if name not in ("id", "content_parts", "refusal") and value is not None
    }
    return {**sent, "content": parts} if parts else {"content": None, **sent}


def _file(account: Account, place: Place, body: Body) -> bool:
    filing = Filing(place.store, place.settings)
    try:
        filing.file(str(body["id"]))
        return False
    except NotFoundError:
        pass
    purpose = (body.get("stillhouse") or {}).get("purpose") or body.get("purpose")
    if purpose not in PURPOSES:
        raise ValueError(f"files of purpose {purpose!r} are not kept here")
    with filing.draft(int(body.get("bytes") or 0)) as draft:
        account.download(str(body["id"]), draft)
        filing.file_draft(draft, str(body.get("filename") or body["id"]), purpose, file_id=str(body["id"]))
    return True


def _eval(account: Account, place: Place, body: Body) -> bool:
    """The eval, ready to be run here, and its runs as they were."""
    eval_id, fresh = str(body["id"]), place.store.document(EVAL, str(body["id"])) is None
    if fresh:
        record = EvalRecord(
            name=body.get("name") or eval_id,
            metadata=body.get("metadata") or {},
            data_source_config=_config(body.get("data_source_config") or {}),
            testing_criteria=body.get("testing_criteria") or [],
            updated_at=int(body.get("created_at") or time.time()),
        )
        created = int(body.get("created_at") or record.updated_at)
        place.store.put_document(Document(kind=EVAL, id=eval_id, created=created, record=record.model_dump(mode="json"))).result()
    brought = [_run(account, place, eval_id, run) for run in account.runs(eval_id)]
    return fresh or any(brought)


def _config(shown: Body) -> Body:
    """The configuration as it would be sent: what an eval shows is the schema of whole rows."""
    if shown.get("type") != "custom":
        return {name: value for name, value in shown.items() if name != "schema"}
    properties = (shown.get("schema") or {}).get("properties") or {}
    item = properties.get("item") or {"type": "object"}
    return {"type": "custom", "item_schema": item, "include_sample_schema": "sample" in properties}


def _run(account: Account, place: Place, eval_id: str, body: Body) -> bool:
    """A run with its output items, entered last: a run that is here has all of them."""
    run_id = str(body["id"])
    if place.store.document(EVAL_RUN, run_id) is not None:
        return False
    created = int(body.get("created_at") or time.time())
    writes = []
    for number, item in enumerate(account.output_items(eval_id, run_id)):
        document = Document(kind=RESCUED_ITEM, id=str(item["id"]), parent=run_id, created=number, record=item)
        writes.append(place.store.put_document(document))
    for write in writes:
        write.result()
    record = EvalRunRecord(
        name=str(body.get("name") or run_id),
        metadata=body.get("metadata") or {},
        model=str(body.get("model") or ""),
        data_source=body.get("data_source") or {},
        token="",
        rescued=body,
    )
    place.store.put_document(
        Document(kind=EVAL_RUN, id=run_id, parent=eval_id, created=created, record=record.model_dump(mode="json"))
    ).result()
    return True


def _job(account: Account, place: Place, body: Body) -> bool:
    return bring_job(account, place.store, body)


RESOURCES: dict[str, tuple[Callable[[Account], Iterator[Body]], Bring]] = {
    "files": (Account.files, _file),
    "completions": (Account.completions, _completion),
    "evals": (Account.evals, _eval),
    "jobs": (Account.jobs, _job),
}
"""Kind -> how it is listed, and how one is brought; in the order in which they refer to each other."""


def counts(tallies: list[Tally]) -> dict[str, Any]:
    """All tallies as one JSON object."""
    return {tally.resource: {"imported": tally.imported, "known": tally.known, "aside": tally.aside} for tally in tallies}
