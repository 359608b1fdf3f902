"""A provider with `/v1/files` and `/v1/batches`, in the test's own event loop; what it was asked stands in its fields."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


class BatchProvider:
    """`async with BatchProvider() as provider:`; a batch is done at its third look, unless `fate` says otherwise."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}
        self.answered: list[str] = []
        self.fate: dict[str, str] = {}
        """Word in a prompt -> `error`, `missing`; or `status` -> how batches end."""
        app = web.Application(client_max_size=2**30)
        app.router.add_post("/v1/files", self._upload)
        app.router.add_get("/v1/files/{id}/content", self._content)
        app.router.add_post("/v1/batches", self._create)
        app.router.add_get("/v1/batches", self._list)
        app.router.add_get("/v1/batches/{id}", self._look)
        self._server = TestServer(app)

    async def __aenter__(self) -> BatchProvider:
        await self._server.start_server()
        self.url = str(self._server.make_url("/v1"))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        await self._server.close()

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert form["purpose"] == "batch"
        assert isinstance(file, web.FileField)
        return web.json_response({"id": self._put(file.file.read()), "object": "file"})

    async def _content(self, request: web.Request) -> web.Response:
        return web.Response(body=self.files[request.match_info["id"]])

    async def _create(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        assert (wanted["endpoint"], wanted["completion_window"]) == ("/v1/chat/completions", "24h")
        identifier = f"batch_{len(self.batches)}"
        self.batches[identifier] = {**wanted, "id": identifier, "object": "batch", "status": "validating"}
        return web.json_response(self.batches[identifier])

    async def _list(self, request: web.Request) -> web.Response:
        """Two a page, newest first."""
        ids = list(reversed(self.batches))
        start = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = ids[start : start + 2]
        return web.json_response({"data": [self.batches[each] for each in page], "has_more": start + 2 < len(ids)})

    async def _look(self, request: web.Request) -> web.Response:
        identifier = request.match_info["id"]
        batch = self.batches[identifier]
        self.looks[identifier] = self.looks.get(identifier, 0) + 1
        if self.looks[identifier] == 3:
            self._finish(batch)
        elif self.looks[identifier] < 3:
            batch["status"] = "in_progress"
        return web.json_response(batch)

    def _finish(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.fate.get("status", "completed")
        if batch["status"] == "failed":
            batch["errors"] = {"data": [{"message": "the file is too odd"}]}
            return
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            asked = json.loads(line)
            prompt = asked["body"]["messages"][-1]["content"]
            fate = next((self.fate[word] for word in self.fate if word in prompt), "")
            if fate == "error":
                error = {"error": {"message": "not this one"}}
                bad.append(_result(asked, 400, error))
            elif fate != "missing":
                self.answered.append(prompt)
                good.append(
                    {"custom_id": asked["custom_id"], "response": {"status_code": 200, "body": _body(prompt)}, "error": None}
                )
        batch["output_file_id"] = self._put(_lines(reversed(good)))
        batch["error_file_id"] = self._put(_lines(bad)) if bad else None

    def _put(self, content: bytes) -> str:
        identifier = f"file-{len(self.files)}"
        self.files[identifier] = content
        return identifier


def _result(asked: dict[str, Any], status: int, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": asked["custom_id"], "response": {"status_code": status, "body": body}, "error": None}


def _body(prompt: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": prompt.upper()}, "finish_reason": "stop"}
    return {"id": "c", "choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}


def _lines(results: Any) -> bytes:
    return b"".join(json.dumps(result).encode() + b"\n" for result in results)
