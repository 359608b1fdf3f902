"""The table of routes, each with its policy; made once per server."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from stillhouse.api.access import Access, Policy
from stillhouse.api.chat_completions import Completions
from stillhouse.api.endpoint import Endpoint, Handler
from stillhouse.api.health import Health
from stillhouse.api.models import Models
from stillhouse.api.stored import StoredCompletions
from stillhouse.api.writes import Writes

CHAT = "/v1/chat/completions"
ONE = CHAT + "/{completion_id}"


def routes(
    access: Access, completions: Completions, stored: StoredCompletions, models: Models, health: Health, writes: Writes
) -> list[BaseRoute]:
    """Every route there is."""
    table: list[tuple[str, str, Handler, Policy]] = [
        ("POST", CHAT, completions.create, Policy.KEY),
        ("GET", CHAT, stored.list, Policy.KEY),
        ("GET", ONE, stored.retrieve, Policy.KEY),
        ("POST", ONE, stored.update, Policy.KEY),
        ("DELETE", ONE, stored.delete, Policy.KEY),
        ("GET", ONE + "/messages", stored.messages, Policy.KEY),
        ("GET", "/v1/models", models.list, Policy.KEY),
        ("GET", "/v1/models/{model:path}", models.retrieve, Policy.KEY),
        ("POST", "/api/writes", writes.post, Policy.SERVER),
        ("GET", "/healthz", health.alive, Policy.KEY),
        ("GET", "/readyz", health.ready, Policy.KEY),
    ]
    return [Route(path, Endpoint(handler, policy, access), methods=[method]) for method, path, handler, policy in table]


def refuse_unclassified(table: list[BaseRoute]) -> None:
    """A route without a policy is our own mistake: the server must not start with it."""
    for route in table:
        if not isinstance(route, Route) or not isinstance(route.endpoint, Endpoint):
            raise AssertionError(f"{route} has no policy: make it in stillhouse.api.routes")


def fixed_endpoints(table: list[BaseRoute]) -> dict[tuple[str, str], Endpoint]:
    """(method, path) -> endpoint, of the routes whose path has no parameter."""
    return {
        (method, route.path): route.endpoint
        for route in table
        if isinstance(route, Route) and isinstance(route.endpoint, Endpoint) and not route.param_convertors
        for method in route.methods or ()
    }
