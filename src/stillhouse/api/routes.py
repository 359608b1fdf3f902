"""The table of routes, each with its policy: every resource's own lines, put together once per server."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.routing import BaseRoute, Route

from stillhouse.api.access import Access
from stillhouse.api.endpoint import Endpoint, Line, Resource


def routes(access: Access, resources: Iterable[Resource]) -> list[BaseRoute]:
    """Every route, in the resources' order; a path with a catch-all parameter comes after those that it would swallow."""
    return [
        Route(path, Endpoint(handler, policy, access), methods=[method]) for method, path, handler, policy in lines_of(resources)
    ]


def lines_of(resources: Iterable[Resource]) -> list[Line]:
    """The same, not made into routes yet."""
    lines = [line for resource in resources for line in resource.routes()]
    return sorted(lines, key=lambda line: ":path}" in line[1])


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
