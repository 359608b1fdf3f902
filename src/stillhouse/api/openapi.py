"""`GET /openapi.json`: the API as an OpenAPI 3.1 document, made of the table of routes and the models that bodies are parsed by.

Answers are told by their type alone: what stands in them is the official SDK's to say (docs/api.md tells where ours differ).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from stillhouse import __version__
from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply, json_bytes
from stillhouse.api.describing import Schema, Takes, taken_by
from stillhouse.api.endpoint import Line

REF = "#/components/schemas/{model}"
ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


class OpenAPI:
    """Handler; the document is made once, when it is first asked for."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = [*lines, *self.routes()]
        self._raw: bytes | None = None

    def routes(self) -> list[Line]:
        return [("GET", "/openapi.json", self.get, Policy.KEY)]

    async def get(self, call: Call) -> Reply:
        """This document."""
        if self._raw is None:
            self._raw = json_bytes(document(self._lines))
        return Reply(200, self._raw)


def document(lines: Iterable[Line]) -> dict[str, Any]:
    """The OpenAPI document of these routes; the server's own (`Policy.SERVER`) are left out."""
    schemas: dict[str, Schema] = {"Error": ERROR}
    paths: dict[str, dict[str, Any]] = {}
    for method, path, handler, policy in lines:
        if policy is not Policy.SERVER:
            plain = re.sub(r"\{(\w+):\w+\}", r"{\1}", path)
            paths.setdefault(plain, {})[method.lower()] = _operation(method, plain, handler, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stillhouse", "version": __version__, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _operation(method: str, path: str, handler: Any, schemas: dict[str, Schema]) -> dict[str, Any]:
    taken = taken_by(handler)
    said = inspect.getdoc(handler)
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{re.sub(r'[^a-zA-Z0-9]+', '_', path)}",
        "parameters": [*_path_parameters(path), *_query_parameters(taken)],
        "responses": {
            str(taken.status): {"description": "The answer.", "content": {taken.answers: {"schema": _answer_schema(taken)}}},
            "default": _error(),
        },
    }
    if said:
        operation["summary"] = said.partition("\n")[0]
    if (body := _body(taken, schemas)) is not None:
        operation["requestBody"] = body
    return operation


def _error() -> dict[str, Any]:
    schema = {"$ref": REF.format(model="Error")}
    return {"description": "What went wrong, in OpenAI's envelope.", "content": {"application/json": {"schema": schema}}}


def _answer_schema(taken: Takes) -> Schema:
    return {"type": "object"} if taken.answers == "application/json" else {}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}} for name in names]


def _query_parameters(taken: Takes) -> list[dict[str, Any]]:
    given = dict(taken.query or {})
    if taken.most is not None:
        limit = {"type": "integer", "minimum": 1, "maximum": taken.most}
        order = {"type": "string", "enum": ["asc", "desc"]}
        given = {"after": {"type": "string"}, "limit": limit, "order": order, **given}
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in given.items()]


def _body(taken: Takes, schemas: dict[str, Schema]) -> dict[str, Any] | None:
    if taken.form is not None:
        schema: Schema = {"type": "object", "properties": dict(taken.form), "required": list(taken.form)[:2]}
        return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}
    if taken.body is None:
        return None
    schema = taken.body.model_json_schema(ref_template=REF)
    schemas.update(schema.pop("$defs", {}))
    name = f"{taken.body.__module__.rpartition('.')[2]}_{taken.body.__name__}"
    schemas[name] = schema
    return {"required": taken.required, "content": {"application/json": {"schema": {"$ref": REF.format(model=name)}}}}
