"""No method of the SDK is forgotten: each that we answer stands in these tests, with the sync and the async client.

Read from their text; what it answers is tested where it stands.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

RESOURCES = (
    *("chat.completions", "files", "uploads", "fine_tuning", "evals", "models", "batches", "responses", "webhooks"),
    *("embeddings", "completions"),
)
NOT_OFFERED = {"responses.compact", "responses.connect"}
"""As docs/api.md says."""


def methods(resource: Any, path: str) -> Iterator[str]:
    """The public methods of a resource and of those within it, as they are written after `client.`."""
    for name in dir(type(resource)):
        if name.startswith(("_", "with_")):
            continue
        if callable(inspect.getattr_static(type(resource), name)) and not hasattr(getattr(resource, name), "_client"):
            yield f"{path}.{name}"
        else:
            yield from methods(getattr(resource, name), f"{path}.{name}")


def chain(node: ast.expr, known: dict[str, str]) -> str | None:
    """`client.a.b` -> `a.b`; None for what begins with neither `client` nor a name that stands for a part of it."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    within = chain(node.value, known) if isinstance(node, ast.Attribute) else None
    return None if within is None or not isinstance(node, ast.Attribute) else f"{within}.{node.attr}".removeprefix(".")


def named_in(function: ast.AST) -> set[str]:
    known = {"client": ""}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = value.elts if isinstance(value, ast.Tuple) else [value]
            parts = {name.id: chain(part, known) for name, part in zip(names, values, strict=False) if isinstance(name, ast.Name)}
            known.update({name: part for name, part in parts.items() if part})
    found = (chain(node, known) for node in ast.walk(function) if isinstance(node, ast.Attribute))
    return {name for name in found if name is not None}


@pytest.mark.engine  # of what is in this folder, so once: with the newest SDK
@pytest.mark.parametrize("kind", [ast.FunctionDef, ast.AsyncFunctionDef])
def test_every_method_is_called(kind: type[ast.AST]) -> None:
    called = set[str]()
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, kind):
                called |= named_in(node)
    with openai.OpenAI(api_key="none") as client:
        offered = set[str]()
        for path_ in RESOURCES:
            resource: Any = client
            for step in path_.split("."):
                resource = getattr(resource, step)
            offered |= set(methods(resource, path_))
    assert len(offered) > 50
    assert offered - called - NOT_OFFERED == set()
