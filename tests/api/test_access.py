"""Who may call what. The table below is golden: a new route is entered here, with its policy, or these tests fail."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from stillhouse.api.access import Access, MissingKeyError, Policy, is_loopback
from stillhouse.api.endpoint import Endpoint
from stillhouse.api.routes import refuse_unclassified
from stillhouse.app import App
from stillhouse.keys import Key, hash_secret, new_secret
from stillhouse.settings import Settings
from stillhouse.stores.sql import SqlStore
from tests.api.conftest import TOKEN
from tests.fakes.asgi import call, running
from tests.fakes.upstream import FakeUpstream

GOLDEN = {
    ("POST", "/v1/chat/completions"): Policy.KEY,
    ("GET", "/v1/chat/completions"): Policy.KEY,
    ("GET", "/v1/chat/completions/{completion_id}"): Policy.KEY,
    ("POST", "/v1/chat/completions/{completion_id}"): Policy.KEY,
    ("DELETE", "/v1/chat/completions/{completion_id}"): Policy.KEY,
    ("GET", "/v1/chat/completions/{completion_id}/messages"): Policy.KEY,
    ("POST", "/v1/responses"): Policy.KEY,
    ("POST", "/v1/responses/input_tokens"): Policy.KEY,
    ("GET", "/v1/responses/{response_id}"): Policy.KEY,
    ("DELETE", "/v1/responses/{response_id}"): Policy.KEY,
    ("POST", "/v1/responses/{response_id}/cancel"): Policy.KEY,
    ("GET", "/v1/responses/{response_id}/input_items"): Policy.KEY,
    ("POST", "/v1/embeddings"): Policy.KEY,
    ("POST", "/v1/completions"): Policy.KEY,
    ("GET", "/v1/webhook_event_types"): Policy.KEY,
    ("POST", "/v1/webhook_endpoints"): Policy.KEY,
    ("GET", "/v1/webhook_endpoints"): Policy.KEY,
    ("GET", "/v1/webhook_endpoints/{webhook_endpoint_id}"): Policy.KEY,
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint_id}"): Policy.KEY,
    ("DELETE", "/v1/webhook_endpoints/{webhook_endpoint_id}"): Policy.KEY,
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint_id}/rotate_secret"): Policy.KEY,
    ("POST", "/v1/webhook_endpoints/{webhook_endpoint_id}/test"): Policy.KEY,
    ("POST", "/v1/fine_tuning/alpha/graders/run"): Policy.KEY,
    ("POST", "/v1/fine_tuning/alpha/graders/validate"): Policy.KEY,
    ("GET", "/v1/models"): Policy.KEY,
    ("GET", "/v1/models/{model:path}"): Policy.KEY,
    ("DELETE", "/v1/models/{model:path}"): Policy.KEY,
    ("GET", "/api/routes"): Policy.KEY,
    ("POST", "/api/routes"): Policy.KEY,
    ("POST", "/api/routes/{alias:path}/rollback"): Policy.KEY,
    ("POST", "/v1/fine_tuning/jobs"): Policy.KEY,
    ("GET", "/v1/fine_tuning/jobs"): Policy.KEY,
    ("GET", "/v1/fine_tuning/jobs/{job_id}"): Policy.KEY,
    ("POST", "/v1/fine_tuning/jobs/{job_id}/cancel"): Policy.KEY,
    ("POST", "/v1/fine_tuning/jobs/{job_id}/pause"): Policy.KEY,
    ("POST", "/v1/fine_tuning/jobs/{job_id}/resume"): Policy.KEY,
    ("GET", "/v1/fine_tuning/jobs/{job_id}/events"): Policy.KEY,
    ("GET", "/v1/fine_tuning/jobs/{job_id}/checkpoints"): Policy.KEY,
    ("POST", "/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions"): Policy.KEY,
    ("GET", "/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions"): Policy.KEY,
    ("DELETE", "/v1/fine_tuning/checkpoints/{checkpoint:path}/permissions/{permission_id}"): Policy.KEY,
    ("POST", "/v1/files"): Policy.KEY,
    ("GET", "/v1/files"): Policy.KEY,
    ("GET", "/v1/files/{file_id}"): Policy.KEY,
    ("DELETE", "/v1/files/{file_id}"): Policy.KEY,
    ("GET", "/v1/files/{file_id}/content"): Policy.KEY,
    ("POST", "/v1/uploads"): Policy.KEY,
    ("POST", "/v1/uploads/{upload_id}/parts"): Policy.KEY,
    ("POST", "/v1/uploads/{upload_id}/complete"): Policy.KEY,
    ("POST", "/v1/uploads/{upload_id}/cancel"): Policy.KEY,
    ("POST", "/v1/evals"): Policy.KEY,
    ("GET", "/v1/evals"): Policy.KEY,
    ("GET", "/v1/evals/{eval_id}"): Policy.KEY,
    ("POST", "/v1/evals/{eval_id}"): Policy.KEY,
    ("DELETE", "/v1/evals/{eval_id}"): Policy.KEY,
    ("POST", "/v1/evals/{eval_id}/runs"): Policy.KEY,
    ("GET", "/v1/evals/{eval_id}/runs"): Policy.KEY,
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}"): Policy.KEY,
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}"): Policy.KEY,
    ("POST", "/v1/evals/{eval_id}/runs/{run_id}/cancel"): Policy.KEY,
    ("DELETE", "/v1/evals/{eval_id}/runs/{run_id}"): Policy.KEY,
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items"): Policy.KEY,
    ("GET", "/v1/evals/{eval_id}/runs/{run_id}/output_items/{item_id}"): Policy.KEY,
    ("GET", "/evals/{eval_id}/runs/{run_id}"): Policy.LINK,
    ("GET", "/api/evals/{eval_id}/compare"): Policy.KEY,
    ("POST", "/v1/batches"): Policy.KEY,
    ("GET", "/v1/batches"): Policy.KEY,
    ("GET", "/v1/batches/{batch_id}"): Policy.KEY,
    ("POST", "/v1/batches/{batch_id}/cancel"): Policy.KEY,
    ("POST", "/api/writes"): Policy.SERVER,
    ("GET", "/openapi.json"): Policy.KEY,
    ("GET", "/healthz"): Policy.KEY,
    ("GET", "/readyz"): Policy.KEY,
}
ROUTES = sorted(GOLDEN)
UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]


def routes_of(app: App) -> list[Route]:
    inner = app._inner
    assert isinstance(inner, Starlette)
    return [route for route in inner.routes if isinstance(route, Route)]


def path_of(route: str) -> str:
    return re.sub(
        r"\{\w+\}",
        "id-1",
        route.replace("{model:path}", "a/b:c").replace("{checkpoint:path}", "ft:a/b:c").replace("{alias:path}", "a"),
    )


def key(secret: str, **more: Any) -> Key:
    return Key(id="key-1", name="k", hash=hash_secret(secret), shown=secret[:8], created=1, **more)


async def status(app: App, method: str, path: str, **headers: str) -> int:
    return (await call(app, method, path, b"{}", {name.replace("_", "-"): value for name, value in headers.items()})).status


def test_every_route_is_in_the_table(settings: Settings, store: SqlStore) -> None:
    found: dict[tuple[str, str], Policy] = {}
    for route in routes_of(App(store, settings)):
        assert isinstance(route.endpoint, Endpoint)
        for method in route.methods or ():
            if method != "HEAD":  # starlette adds it to GET
                found[(method, route.path)] = route.endpoint.policy
    assert found == GOLDEN


def test_a_route_without_a_policy_stops_the_server() -> None:
    with pytest.raises(AssertionError, match="no policy"):
        refuse_unclassified([Route("/new", PlainTextResponse("x"))])


async def test_without_any_key_loopback_is_open_but_for_what_needs_a_token(app: App) -> None:
    for method, route in ROUTES:
        refused = GOLDEN[(method, route)] is not Policy.KEY
        assert (await status(app, method, path_of(route)) in (401, 403)) is refused, route


@pytest.mark.parametrize("door", ["key made", "key revoked", "open bind"])
async def test_otherwise_every_route_needs_a_key(settings: Settings, store: SqlStore, upstream: FakeUpstream, door: str) -> None:
    secret = new_secret()
    if door != "open bind":
        store.put_key(key(secret, revoked=2 if door == "key revoked" else None)).result()
    bound = settings.model_copy(update={"host": "0.0.0.0" if door == "open bind" else "127.0.0.1"})
    wrong: list[dict[str, str]] = [{}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {secret}"}, {"x_key": secret}]
    async with running(App(store, bound)) as app:
        for method, route in ROUTES:
            for credentials in wrong:
                assert await status(app, method, path_of(route), **credentials) in (401, 403), route
            allowed = door == "key made" and GOLDEN[(method, route)] is Policy.KEY
            assert (await status(app, method, path_of(route), authorization=f"Bearer {secret}") not in (401, 403)) is allowed


async def test_the_servers_token_opens_its_own_route_and_no_other(app: App, store: SqlStore) -> None:
    assert await status(app, "POST", "/api/writes", authorization=f"Bearer {TOKEN}") == 400
    assert await status(app, "POST", "/api/writes", authorization="Bearer other") == 403
    store.put_key(key(new_secret())).result()
    app.refresh()
    assert await status(app, "GET", "/v1/models", authorization=f"Bearer {TOKEN}") == 401


async def test_without_a_token_nobody_writes(settings: Settings, store: SqlStore) -> None:
    async with running(App(store, settings)) as app:
        assert await status(app, "POST", "/api/writes") == 403
        assert await status(app, "POST", "/api/writes", authorization="Bearer ") == 403


@pytest.fixture
async def named(settings: Settings, store: SqlStore) -> AsyncIterator[App]:
    bound = settings.model_copy(update={"host": "10.0.0.7", "allowed_hosts": ("teacher.lan",)})
    secret = "secret-of-this-test"
    store.put_key(key(secret)).result()
    async with running(App(store, bound)) as app:
        yield app


OURS = ["localhost", "localhost:1", "127.0.0.1:8321", "[::1]:5", "LOCALHOST", "10.0.0.7", "teacher.lan:80"]
OTHERS = ["evil.example", "", "localhost.evil.example", "127.0.0.1.evil", "x/healthz?", "[::1", "0.0.0.0", "::1"]


async def test_the_host_must_be_ours_on_every_path(named: App) -> None:
    secret = "Bearer secret-of-this-test"
    for host in OURS:
        assert await status(named, "GET", "/healthz", host=host, authorization=secret) == 200, host
    for host in OTHERS:
        for method, path in [("GET", "/healthz"), ("POST", "/v1/chat/completions"), ("GET", "/nowhere")]:
            assert await status(named, method, path, host=host, authorization=secret) == 403, host


FOREIGN: list[dict[str, str]] = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:9"},
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site", "origin": "http://localhost:8321"},
]
OWN: list[dict[str, str]] = [
    {},
    {"origin": "http://localhost:8321"},
    {"sec_fetch_site": "same-origin"},
    {"sec_fetch_site": "none"},
]


async def test_other_sites_pages_change_nothing(app: App) -> None:
    for headers in FOREIGN:
        for method in UNSAFE:
            for path in ("/v1/chat/completions", "/v1/chat/completions/chatcmpl-1", "/api/writes", "/nowhere"):
                assert await status(app, method, path, **headers) == 403, (method, path, headers)
    for headers in OWN:
        assert await status(app, "DELETE", "/v1/chat/completions/chatcmpl-1", **headers) == 404


LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"]


@pytest.mark.parametrize("host", [*LOOPBACK, "0.0.0.0", "::", "10.0.0.7", "localhost.evil", ""])
def test_loopback(host: str) -> None:
    assert is_loopback(host) is (host in LOOPBACK)


def test_access_is_closed_from_the_start_on_an_open_bind(settings: Settings) -> None:
    access = Access(settings.model_copy(update={"host": "0.0.0.0"}))
    with pytest.raises(Exception, match="stillhouse key create"):
        access.check(Policy.KEY, {"headers": []})


def test_a_mistyped_key_is_told_from_an_unknown_one_and_neither_is_repeated(settings: Settings) -> None:
    access, secret = Access(settings), new_secret()
    access.set_keys([key(new_secret())])
    for sent, told in [(secret, "not known here, or was revoked"), (secret[:-1], "mistyped"), ("sk-other", "mistyped")]:
        with pytest.raises(MissingKeyError, match=told) as refused:
            access.check(Policy.KEY, {"headers": [(b"authorization", f"Bearer {sent}".encode())]})
        assert sent not in str(refused.value)
