"""Calls of hostile code: a function's body goes in, a number or the reason of its end comes out."""

from __future__ import annotations

import textwrap

import pytest

from stillhouse.sandbox import CodeError, Limits, Sandbox


async def run(body: str, *arguments: object, limits: Limits | None = None) -> float:
    """What `body`, as a function of `a`, returns in the sandbox."""
    source = "def f(*a):\n" + textwrap.indent(textwrap.dedent(body), "    ")
    return await Sandbox(limits).call(source, "f", arguments)


async def raises(body: str, expected: str, *arguments: object, limits: Limits | None = None) -> CodeError:
    with pytest.raises(CodeError, match=expected) as failed:
        await run(body, *arguments, limits=limits)
    return failed.value
