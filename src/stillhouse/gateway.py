"""Names -> ChatModels: joins what the store knows (upstreams, artifacts, routes) into the table that a router holds.

The server and the workspace both use it. It builds models and keeps them while their record stays the same, so a change of one
route neither drops a connection nor restarts a student. It serves nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from stillhouse.artifact import FINE_TUNED, Artifact
from stillhouse.artifacts import load_manifest
from stillhouse.chat import ChatModel, Forwarder
from stillhouse.models import MODELS
from stillhouse.routing import Renamed, Router, Target
from stillhouse.settings import Settings
from stillhouse.shipped import BUILTIN, builtin_models
from stillhouse.stores.base import Store
from stillhouse.upstream import Upstream

log = logging.getLogger(__name__)


@runtime_checkable
class _Retiring(Protocol):
    """A model that holds more than connections, and can be rid of it while requests are under way."""

    def retire(self) -> None: ...


class Gateway:
    """The models of one data folder. `refresh` after a change in the store; `close` at the end."""

    def __init__(self, store: Store, settings: Settings, *, retries: bool = True) -> None:
        """`retries`: False for who asks again by himself, and counts how often."""
        self.router = Router()
        self._retries = retries
        self._store = store
        self._settings = settings
        self._built: dict[str, ChatModel] = {}
        self._retired: list[ChatModel] = []

    def refresh(self) -> None:
        """Put what the store says now in force. Requests under way keep the model they have; its process ends with them."""
        upstreams, artifacts = self._store.upstreams(), self._store.artifacts()
        built: dict[str, ChatModel] = {}
        targets: dict[str, Target] = {}
        catch_all = []
        for upstream in upstreams:
            model = self._keep(built, f"upstream {upstream.model_dump_json()}", partial(self._upstream, upstream))
            targets.update((target.name, target) for target in _targets(upstream, model) if target.name not in targets)
            if not upstream.models:
                catch_all.append(_target(upstream, model, ""))
        for folder in builtin_models():
            name = f"{BUILTIN}{folder.name}"
            model = self._keep(built, f"builtin {name}", partial(self._student, folder, name))
            targets[name] = Target(model, name, name, _terms(load_manifest(folder)))
        for artifact in artifacts:
            named = artifact.name if artifact.name and artifact.name.startswith(FINE_TUNED) else artifact.id
            folder = self._settings.artifacts / artifact.id
            model = self._keep(built, f"artifact {artifact.id}", partial(self._student, folder, named))
            for name in (artifact.id, named):
                targets[name] = Target(model, name, artifact.id, _terms(artifact), artifact.created)
        self._add_routes(targets, catch_all)
        retired = [model for key, model in self._built.items() if key not in built]
        self._retired += retired
        self._built = built
        self.router.swap(targets, catch_all)
        for model in retired:
            if isinstance(model, _Retiring):
                model.retire()

    async def close(self) -> None:
        """Close every model: connections, and the students' processes."""
        for model in [*self._built.values(), *self._retired]:
            await model.close()
        self._built, self._retired = {}, []

    def _add_routes(self, targets: dict[str, Target], catch_all: list[Target]) -> None:
        known = Router(targets, catch_all)
        for route in self._store.routes():
            if route.model not in targets and not catch_all:
                log.warning("route '%s' points at '%s', which no upstream or artifact answers for", route.alias, route.model)
                continue
            to = known.resolve(route.model)
            targets[route.alias] = replace(to, model=Renamed(to.model, to.name), created=route.created)

    def _keep(self, built: dict[str, ChatModel], key: str, build: Callable[[], ChatModel]) -> ChatModel:
        model = built[key] = self._built.get(key) or build()
        return model

    def _upstream(self, upstream: Upstream) -> ChatModel:
        retried = upstream if self._retries else upstream.model_copy(update={"max_retries": 0})
        model: ChatModel = MODELS.resolve("openai")(retried)
        return model

    def _student(self, folder: Path, name: str) -> ChatModel:
        build, settings = MODELS.resolve("student"), self._settings
        model: ChatModel = build(folder, model_id=name, queue=settings.student_queue, batch=settings.student_batch)
        return model


def _targets(upstream: Upstream, model: ChatModel) -> Iterator[Target]:
    for name in upstream.models:
        yield _target(upstream, model, name)


def _target(upstream: Upstream, model: ChatModel, name: str) -> Target:
    forwarder = cast(Forwarder, model)  # every way to answer over HTTP is one
    return Target(model, name, upstream.name, upstream.may_train, upstream.created, upstream.name, forwarder)


def _terms(artifact: Artifact) -> str:
    """A student of answers that must not be trained on gives answers that must not be trained on."""
    return next((terms for terms in artifact.may_train.values() if terms.startswith("no")), "yes")
