"""A teacher that gives texts a label, over HTTP: `with Classifier(answer) as teacher:`; `teacher.asked` is what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Answer = Callable[[str, dict[str, Any]], str]
"""(text, request) -> what it says."""


class Classifier:
    """Answers with `answer`, as sure as `logprob` says; refuses `response_format` where it is told to."""

    def __init__(self, answer: Answer, *, logprob: float | None = None, constrained: bool = True) -> None:
        self.answer, self.logprob, self.constrained = answer, logprob, constrained
        self.asked: list[dict[str, Any]] = []
        teacher = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                teacher.asked.append(request)
                status, body = teacher.reply(request)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def reply(self, request: dict[str, Any]) -> tuple[int, bytes]:
        if "response_format" in request and not self.constrained:
            message = "response_format is not supported"
            return 400, json.dumps(
                {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
            ).encode()
        said = self.answer(request["messages"][-1]["content"], request)
        content = None if self.logprob is None else [{"token": said, "logprob": self.logprob, "bytes": None, "top_logprobs": []}]
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": said},
            "finish_reason": "stop",
            "logprobs": {"content": content} if content is not None else None,
        }
        usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
        body = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": request["model"],
            "choices": [choice],
            "usage": usage,
        }
        return 200, json.dumps(body).encode()

    def __enter__(self) -> Classifier:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.server.shutdown()
        self.server.server_close()
