"""`/api/routes`: which model answers for a name, as `stillhouse route` says it: deploying a student, and one step back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from pydantic import BaseModel, Field

from stillhouse.api.access import Policy
from stillhouse.api.asgi import Call, Reply
from stillhouse.api.bodies import parse_body
from stillhouse.api.describing import takes
from stillhouse.api.endpoint import Line
from stillhouse.api.pages import list_body
from stillhouse.errors import ConflictError, InvalidParameterError, NotFoundError
from stillhouse.route import Route
from stillhouse.routing import ModelNotFoundError, Router
from stillhouse.stores.base import Store

ALL = "/api/routes"
MAX_BODY_BYTES = 64 * 1024


class NewRoute(BaseModel):
    """The body of a change."""

    alias: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$")
    model: str = Field(min_length=1)
    note: str = ""


class Aliases:
    """Handlers; `changed` puts a change in force at once."""

    def __init__(self, store: Store, router: Router, changed: Callable[[], None]) -> None:
        self._store = store
        self._router = router
        self._changed = changed

    def routes(self) -> list[Line]:
        return [
            ("GET", ALL, self.list, Policy.KEY),
            ("POST", ALL, self.set, Policy.KEY),
            ("POST", ALL + "/{alias:path}/rollback", self.rollback, Policy.KEY),
        ]

    async def list(self, call: Call) -> Reply:
        routes = await asyncio.to_thread(self._store.routes)
        return Reply.of(list_body([_body(route) for route in routes], has_more=False))

    @takes(NewRoute)
    async def set(self, call: Call) -> Reply:
        wish = parse_body(NewRoute, await call.body(MAX_BODY_BYTES))
        try:
            self._router.resolve(wish.model)
        except ModelNotFoundError as exc:
            raise InvalidParameterError(str(exc), "model") from exc
        route = Route(alias=wish.alias, model=wish.model, created=int(time.time()), note=wish.note)
        await asyncio.wrap_future(self._store.put_route(route))
        self._changed()
        return Reply.of(_body(route))

    async def rollback(self, call: Call) -> Reply:
        alias = call.path_parameter("alias")
        if not await asyncio.to_thread(self._store.route_history, alias):
            raise NotFoundError(f"There is no alias '{alias[:80]}'. See what there is: GET {ALL}")
        route = await asyncio.wrap_future(self._store.rollback_route(alias))
        if route is None:
            raise ConflictError(f"There is no earlier model for '{alias[:80]}'.")
        self._changed()
        return Reply.of(_body(route))


def _body(route: Route) -> dict[str, object]:
    return {"id": route.alias, "object": "route", **route.model_dump(mode="json")}
