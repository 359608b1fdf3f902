"""Records to store, and the tiny server that takes writes as the real one does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from stillhouse.completion import Completion, State
from stillhouse.dataset import Dataset
from stillhouse.errors import UsageError
from stillhouse.ids import new_id
from stillhouse.run import Run, RunEvent
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.stores.remote import WRITES_PATH, apply_remote_writes
from stillhouse.stores.sql import SqlStore


def settings_in(folder: Path) -> Settings:
    return Settings(data_dir=folder)


def completion(state: State = "started", **fields: Any) -> Completion:
    fields.setdefault("id", new_id("chatcmpl"))
    fields.setdefault("model", "gpt-4o-2026")
    fields.setdefault("requested_model", "gpt-4o")
    return Completion(created=fields.pop("created", 1_795_000_000), state=state, instance="one", upstream="openai", **fields)


def ended(begun: Completion, state: State = "complete", **fields: Any) -> Completion:
    return begun.model_copy(update={"state": state, **fields})


def request_bytes(text: str) -> bytes:
    return orjson.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": text}], "store": True})


def response_bytes(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return orjson.dumps({"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


def keep(store: SqlStore, prompt: str = "question", answer: str = "answer", **fields: Any) -> str:
    """Store one whole exchange; its id."""
    begun = completion(**fields)
    store.begin_completion(begun, request_bytes(prompt)).result()
    store.finish_completion(ended(begun), response_bytes(answer)).result()
    return begun.id


def run_record(run_id: str = "run-1", **fields: Any) -> Run:
    return Run(id=run_id, kind="train", name="try", state="queued", created=1, spec={"steps": 3}, **fields)


def event(seq: int, run_id: str = "run-1", **fields: Any) -> RunEvent:
    return RunEvent(run=run_id, seq=seq, time=float(seq), **fields)


def dataset(name: str, content: str) -> Dataset:
    return Dataset(
        name=name, fingerprint=f"sha256:{content}", created=1, counts={"train": 1}, files={"train": "train.jsonl"}, hashes={}
    )


@contextmanager
def live_server(settings: Settings) -> Iterator[SqlStore]:
    """A store of the role `server`, published, with a loopback port that takes writes for it."""
    store = open_store(settings, role="server")
    server = _WritesServer(store)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        server.token = store.publish(f"http://127.0.0.1:{server.server_address[1]}")
        yield store
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        store.close()


class _WritesServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, store: SqlStore) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        self.token = ""


class _Handler(BaseHTTPRequestHandler):
    """One request a connection: nothing is left open when the server goes."""

    server: _WritesServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status, answer = 401, b""
        if self.path == WRITES_PATH and self.headers["authorization"] == f"Bearer {self.server.token}":
            try:
                status, answer = 200, apply_remote_writes(self.server.store, body)
            except UsageError as exc:
                status, answer = 400, str(exc).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
