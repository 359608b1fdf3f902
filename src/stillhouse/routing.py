"""A model's name -> who answers for it. Holds built objects in a table that is swapped whole; looks nothing up.

An alias is the same ChatModel under another name: `Renamed` asks it for the model it knows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stillhouse.chat import ChatModel, ChatRequest, ChatResponse, Chunk, Forwarder
from stillhouse.errors import NotFoundError


class ModelNotFoundError(NotFoundError):
    """No upstream, artifact or alias answers for the name."""

    code = "model_not_found"


@dataclass(frozen=True)
class Target:
    """Who answers: what a completion says about its origin, and the ChatModel itself."""

    model: ChatModel
    name: str
    """What the upstream is asked for."""
    upstream: str
    """Name of the upstream, or id of the artifact."""
    may_train: str = "yes"
    created: int = 0
    owner: str = "stillhouse"
    forwarder: Forwarder | None = None
    """Who answers what is not chat; None where nobody does."""


class Router:
    """The table in force."""

    def __init__(self, targets: Mapping[str, Target] | None = None, catch_all: Sequence[Target] = ()) -> None:
        self.swap(targets or {}, catch_all)

    def swap(self, targets: Mapping[str, Target], catch_all: Sequence[Target] = ()) -> None:
        """Put another table in force, at once: requests under way keep the target they have.

        `catch_all`: upstreams that named no models. The first answers for every name that is in no table.
        """
        self._table = (dict(targets), tuple(catch_all))

    @property
    def names(self) -> list[str]:
        """Every name a client can see listed."""
        return sorted(self._table[0])

    def listed(self, name: str) -> Target | None:
        """The target of a listed name."""
        return self._table[0].get(name)

    def resolve(self, name: str) -> Target:
        """Who answers for `name`. Raises ModelNotFoundError, which lists what there is."""
        targets, catch_all = self._table
        target = targets.get(name)
        if target is not None:
            return target
        if catch_all and name:
            first = catch_all[0]
            return replace(first, name=name)
        there = ", ".join(sorted(targets)[:20]) or "none"
        only_shipped = all(known.startswith("builtin:") for known in targets)
        hint = " Add a teacher: stillhouse upstream add NAME --base-url URL --model ID" if only_shipped else ""
        raise ModelNotFoundError(f"The model '{name}' does not exist. There are: {there}.{hint}")


class Renamed:
    """A ChatModel that is asked for `model`, whatever name the client used."""

    def __init__(self, inner: ChatModel, model: str) -> None:
        self._inner = inner
        self._model = model

    async def complete(self, request: ChatRequest) -> ChatResponse:
        return await self._inner.complete(request.with_model(self._model))

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        return self._inner.stream(request.with_model(self._model))

    async def close(self) -> None:
        await self._inner.close()
