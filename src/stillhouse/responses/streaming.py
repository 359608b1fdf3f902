"""The chunks of a chat stream as the events of a response's stream: items are opened, grow, and are closed, in the API's order.

The last event holds the whole response, put together from the same chunks by `transcript`: what a stored one reads as, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stillhouse.chat import Chunk
from stillhouse.responses.answering import answered, failed, item_id, reasoning_item, text_part
from stillhouse.transcript import assemble

Body = Mapping[str, Any]
Event = tuple[str, dict[str, Any]]


class Events:
    """One stream. `begin`, then `feed` each chunk, then `end` (or `fail`); each gives the events to send, numbered."""

    def __init__(self, skeleton: Body) -> None:
        self._skeleton = dict(skeleton)
        self._id = str(skeleton["id"])
        self._number = 0
        self._raw: list[bytes] = []
        self._open: list[_Item] = []

    def begin(self) -> Iterator[Chunk]:
        yield self._event("response.created", response=self._skeleton)
        yield self._event("response.in_progress", response=self._skeleton)

    def feed(self, chunk: Chunk) -> Iterator[Chunk]:
        """The events that a chunk makes; the first choice alone is told."""
        self._raw.append(chunk.raw)
        for choice in (chunk.body or {}).get("choices") or ():
            if isinstance(choice, dict) and choice.get("index") in (0, None):
                yield from self._grow(choice.get("delta") or {}, choice.get("logprobs"))

    def end(self) -> Iterator[Chunk]:
        """The items are closed; the whole response comes last."""
        response = answered(self._skeleton, assemble(b"".join(self._raw), True))
        for item in response["output"]:
            yield from self._opened(item["id"], item)
        place = {item.id: item.index for item in self._open}
        response["output"].sort(key=lambda item: place[item["id"]])
        for item in self._open:
            done = next((each for each in response["output"] if each["id"] == item.id), None)
            for name, fields in item.closing(done):
                yield self._event(name, item_id=item.id, output_index=item.index, **fields)
            yield self._event("response.output_item.done", item=done, output_index=item.index)
        yield self._event(f"response.{response['status']}", response=response)

    def fail(self, message: str) -> Chunk:
        """The event that ends a stream which broke."""
        return self._event("response.failed", response=failed(self._skeleton, message))

    def _grow(self, delta: Body, logprobs: Any) -> Iterator[Chunk]:
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            yield from self._add("rs", 0, "response.reasoning_text.delta", reasoning, content_index=0)
        if isinstance(delta.get("content"), str) and delta["content"]:
            tokens = (logprobs or {}).get("content") or [] if isinstance(logprobs, dict) else []
            yield from self._add(
                "msg", 0, "response.output_text.delta", delta["content"], content_index=0, logprobs=_told(tokens)
            )
        if isinstance(delta.get("refusal"), str) and delta["refusal"]:
            yield from self._add("msg", 0, "response.refusal.delta", delta["refusal"], content_index=0)
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                yield from self._add_call(call)

    def _add_call(self, call: Body) -> Iterator[Chunk]:
        index = call.get("index")
        number = index if isinstance(index, int) else 0
        function, custom = call.get("function") or {}, call.get("custom") or {}
        if custom or call.get("type") == "custom":
            said = {"call_id": call.get("id") or "", "name": custom.get("name") or ""}
            yield from self._add("ctc", number, "response.custom_tool_call_input.delta", custom.get("input") or "", said)
        else:
            said = {"call_id": call.get("id") or "", "name": function.get("name") or ""}
            yield from self._add("fc", number, "response.function_call_arguments.delta", function.get("arguments") or "", said)

    def _add(self, kind: str, number: int, name: str, delta: str, said: Body | None = None, **fields: Any) -> Iterator[Chunk]:
        identifier = item_id(kind, self._id, number)
        yield from self._opened(identifier, said or {}, refuses="refusal" in name)
        if delta:
            index = next(item.index for item in self._open if item.id == identifier)
            yield self._event(name, item_id=identifier, output_index=index, delta=delta, **fields)

    def _opened(self, identifier: str, said: Body, *, refuses: bool = False) -> Iterator[Chunk]:
        """Announce an item that is not there yet."""
        if any(item.id == identifier for item in self._open):
            return
        item = _Item(identifier, len(self._open), refuses=refuses)
        self._open.append(item)
        yield self._event("response.output_item.added", item=item.empty(said), output_index=item.index)
        if (part := item.first_part()) is not None:
            place = {"item_id": identifier, "output_index": item.index, "content_index": 0}
            yield self._event("response.content_part.added", **place, part=part)

    def _event(self, kind: str, /, **fields: Any) -> Chunk:
        body = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        plain = Chunk.build(body)
        return Chunk(b"event: " + kind.encode() + b"\n" + plain.raw, plain.data)


class _Item:
    """An output item that is being said."""

    def __init__(self, identifier: str, index: int, *, refuses: bool) -> None:
        self.kind = identifier.partition("_")[0]
        self.id = identifier
        self.index = index
        self._refuses = refuses

    def empty(self, said: Body) -> dict[str, Any]:
        """As it is announced, before its first word."""
        if self.kind == "rs":
            return {**reasoning_item("", ""), "id": self.id}
        if self.kind == "msg":
            return {"id": self.id, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        if self.kind == "ctc":
            return {"type": "custom_tool_call", "id": self.id, "input": "", "call_id": said["call_id"], "name": said["name"]}
        named = {"call_id": said["call_id"], "name": said["name"]}
        return {"type": "function_call", "id": self.id, "status": "in_progress", "arguments": "", **named}

    def first_part(self) -> dict[str, Any] | None:
        if self.kind == "rs":
            return {"type": "reasoning_text", "text": ""}
        if self.kind == "msg":
            return {"type": "refusal", "refusal": ""} if self._refuses else text_part("")
        return None

    def closing(self, done: Body | None) -> Iterator[Event]:
        """What is said of the parts before the item itself is done; nothing where the item is not in the answer after all."""
        if done is None:
            return
        if self.kind == "fc":
            yield "response.function_call_arguments.done", {"arguments": done["arguments"], "name": done["name"]}
        elif self.kind == "ctc":
            yield "response.custom_tool_call_input.done", {"input": done["input"]}
        else:
            for index, part in enumerate(done["content"]):
                yield from _closing_part(index, part)


def _closing_part(index: int, part: Body) -> Iterator[Event]:
    if part["type"] == "refusal":
        yield "response.refusal.done", {"content_index": index, "refusal": part["refusal"]}
    elif part["type"] == "output_text":
        logprobs = part["logprobs"]
        yield "response.output_text.done", {"content_index": index, "text": part["text"], "logprobs": logprobs}
    else:
        yield "response.reasoning_text.done", {"content_index": index, "text": part["text"]}
    yield "response.content_part.done", {"content_index": index, "part": part}


def _told(tokens: list[Any]) -> list[dict[str, Any]]:
    return [
        {"token": token.get("token"), "logprob": token.get("logprob"), "top_logprobs": token.get("top_logprobs") or []}
        for token in tokens
        if isinstance(token, dict)
    ]
