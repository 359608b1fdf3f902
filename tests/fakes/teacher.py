"""A teacher for thousands of requests: chat completions with latency, 429s and a rate limit, cheap enough to share the cores.

    python tests/fakes/teacher.py --low 0.15 --high 0.3 --rate 400 --burst 400 --refuse 0.01

Prints its port. What it served stands at GET /ledger: requests that came, answers given with 200, refusals, different prompts.
GET /ledger/N says so once N requests came; GET /mend ends the failing of the prompts that hold the word of `--fail`. `--novel`
makes it write new questions.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.request import urlopen


class Teacher:
    """Its answers, its limits, and what it served."""

    def __init__(
        self,
        low: float,
        high: float,
        rate: float,
        burst: float,
        refuse: float,
        headers: bool,
        fail: str = "",
        novel: bool = False,
    ) -> None:
        self.fail, self.novel = fail.encode(), novel
        self.low, self.high, self.rate, self.burst, self.refuse, self.headers = low, high, rate, burst, refuse, headers
        self.random = random.Random(7)
        self.tokens, self.since = burst, 0.0
        self.came, self.answered, self.refused, self.under_way, self.most = 0, 0, 0, 0, 0
        self.prompts: set[str] = set()
        self.waiting: list[tuple[int, Connection]] = []

    def admits(self, now: float) -> bool:
        """A token bucket, and refusals by chance besides."""
        if not self.rate:
            return self.random.random() >= self.refuse
        self.tokens = min(self.burst, self.tokens + (now - self.since) * self.rate)
        self.since = now
        if self.tokens < 1 or self.random.random() < self.refuse:
            return False
        self.tokens -= 1
        return True

    def limits(self) -> bytes:
        if not self.headers:
            return b""
        full = int((self.burst - self.tokens) / self.rate * 1000)
        return b"x-ratelimit-remaining-requests: %d\r\nx-ratelimit-reset-requests: %dms\r\n" % (int(self.tokens), full)

    def ledger(self) -> dict[str, int]:
        counts = {"came": self.came, "answered": self.answered, "refused": self.refused}
        return {**counts, "prompts": len(self.prompts), "most": self.most}

    def tell(self) -> None:
        """Those who wait for what has come by now."""
        ready = [connection for count, connection in self.waiting if count <= self.came]
        self.waiting = [(count, connection) for count, connection in self.waiting if count > self.came]
        for connection in ready:
            connection.send(200, json.dumps(self.ledger()).encode())


class Connection(asyncio.Protocol):
    """Requests with a Content-Length, one after the other."""

    def __init__(self, teacher: Teacher) -> None:
        self.teacher, self.buffer = teacher, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        lower = self.buffer[:head].lower()
        at = lower.find(b"content-length:")
        length = 0 if at < 0 else int(lower[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < head + 4 + length:
            return
        body, self.buffer = self.buffer[head + 4 : head + 4 + length], self.buffer[head + 4 + length :]
        if lower.startswith(b"get"):
            if b"/mend" in lower.split(b"\r\n", 1)[0]:
                self.teacher.fail = b""
            count = lower.split(b" ", 2)[1].rpartition(b"/")[2]
            self.teacher.waiting.append((int(count) if count.isdigit() else 0, self))
            self.teacher.tell()
        else:
            self.ask(body)

    def ask(self, body: bytes) -> None:
        teacher, loop = self.teacher, asyncio.get_running_loop()
        teacher.came += 1
        teacher.tell()
        if teacher.fail and teacher.fail in body:
            self.send(422, b'{"error":{"message":"not this one","type":"x","param":null,"code":null}}')
            return
        if not teacher.admits(loop.time()):
            teacher.refused += 1
            refusal = b'{"error":{"message":"slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}'
            self.send(429, refusal, b"retry-after-ms: 50\r\n" + teacher.limits())
            return
        teacher.under_way += 1
        teacher.most = max(teacher.most, teacher.under_way)
        loop.call_later(teacher.random.uniform(teacher.low, teacher.high), self.answer, body, teacher.limits())

    def answer(self, body: bytes, limits: bytes) -> None:
        teacher = self.teacher
        teacher.under_way -= 1
        teacher.answered += 1
        request = json.loads(body)
        prompt = request["messages"][-1]["content"]
        teacher.prompts.add(prompt)
        text = questions(prompt) if teacher.novel else ANSWER.format(prompt)
        self.send(200, json.dumps(answer_to(request, text)).encode(), limits)

    def send(self, status: int, body: bytes, headers: bytes = b"") -> None:
        if not self.transport.is_closing():
            head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n" % (
                status,
                headers,
                len(body),
            )
            self.transport.write(head + body)


ANSWER = "The answer to {!r}. " + "It has some length. " * 20


def questions(prompt: str) -> str:
    """Eight that were never asked, numbered; to a prompt that wants one rewritten, the first."""
    dice = random.Random(prompt)
    lines = [" ".join("".join(dice.choices("abcdefghijklmnopqrst", k=6)) for _ in range(6)) for _ in range(8)]
    return lines[0] if prompt.startswith("Rewrite") else "\n".join(f"{n}. {line}" for n, line in enumerate(lines, start=1))


def answer_to(request: dict[str, Any], text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 20, "completion_tokens": 100, "total_tokens": 120}
    return {"id": "t", "object": "chat.completion", "created": 1, "model": request["model"], "choices": [choice], "usage": usage}


class TeacherProcess:
    """`with TeacherProcess("--rate", "400") as teacher:`; `teacher.url` is the base URL, `teacher.ledger()` what it served."""

    def __init__(self, *options: str) -> None:
        self.options = options

    def __enter__(self) -> TeacherProcess:
        self.process = subprocess.Popen([sys.executable, str(Path(__file__)), *self.options], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def ledger(self, came: int = 0) -> dict[str, int]:
        """What it served, once so many requests came."""
        with urlopen(f"http://127.0.0.1:{self.port}/ledger/{came}", timeout=240) as reply:
            found: dict[str, int] = json.loads(reply.read())
        return found

    def mend(self) -> None:
        """From here on it answers everything."""
        urlopen(f"http://127.0.0.1:{self.port}/mend", timeout=60).close()

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (("low", 0.15), ("high", 0.3), ("rate", 0.0), ("burst", 400.0), ("refuse", 0.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--headers", action="store_true")
    parser.add_argument("--fail", default="")
    parser.add_argument("--novel", action="store_true")
    options = parser.parse_args()
    teacher = Teacher(**vars(options))
    server = await asyncio.get_running_loop().create_server(lambda: Connection(teacher), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
