"""What the store says becomes what is served; what did not change stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.artifact import Artifact
from stillhouse.chat import ChatRequest
from stillhouse.gateway import Gateway
from stillhouse.models.fake import FakeModel
from stillhouse.models.student import StudentModel
from stillhouse.route import Route
from stillhouse.routing import ModelNotFoundError, Renamed, Router, Target
from stillhouse.settings import Settings
from stillhouse.stores.base import Store
from stillhouse.stores.opening import open_store
from stillhouse.upstream import Upstream


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(Settings(data_dir=tmp_path), role="server")
    yield store
    store.close()


@pytest.fixture
def gateway(store: Store, tmp_path: Path) -> Gateway:
    return Gateway(store, Settings(data_dir=tmp_path))


def names(gateway: Gateway) -> list[str]:
    """All but those that come along."""
    return [name for name in gateway.router.names if not name.startswith("builtin:")]


def upstream(name: str, *models: str, **more: Any) -> Upstream:
    return Upstream(name=name, base_url=f"http://127.0.0.1:1/{name}", models=models, **more)


def route(alias: str, model: str) -> Route:
    return Route(alias=alias, model=model, created=1)


def artifact(identifier: str, **more: Any) -> Artifact:
    return Artifact(id=identifier, kind="linear", created=5, parameters=1, size_bytes=1, hashes={}, **more)


def test_upstreams_artifacts_and_aliases_are_listed(store: Store, gateway: Gateway) -> None:
    store.put_upstream(upstream("one", "a", "b")).result()
    store.put_artifact(artifact("student-1", may_train={"one": "no: terms"})).result()
    store.put_route(route("my-task", "student-1")).result()
    gateway.refresh()
    assert names(gateway) == ["a", "b", "my-task", "student-1"]
    alias = gateway.router.resolve("my-task")
    assert (alias.name, alias.upstream, alias.may_train) == ("student-1", "student-1", "no: terms")
    with pytest.raises(ModelNotFoundError, match="There are: a, b, builtin:base, builtin:teacher, my-task, student-1"):
        gateway.router.resolve("c")


def test_a_fine_tuned_model_answers_to_its_name_and_its_id(store: Store, gateway: Gateway) -> None:
    store.put_artifact(artifact("student-1", name="ft:base:org:x:1")).result()
    store.put_artifact(artifact("student-2", name="a recipe's")).result()
    gateway.refresh()
    assert names(gateway) == ["ft:base:org:x:1", "student-1", "student-2"]
    by_name, by_id = gateway.router.resolve("ft:base:org:x:1"), gateway.router.resolve("student-1")
    assert by_name.model is by_id.model and (by_name.upstream, by_id.upstream) == ("student-1", "student-1")


def test_models_that_come_along_answer_without_being_entered(gateway: Gateway) -> None:
    gateway.refresh()
    assert gateway.router.names == ["builtin:base", "builtin:teacher"]
    assert gateway.router.resolve("builtin:teacher").may_train == "yes"


def test_an_alias_may_take_a_teachers_own_name_and_give_it_back(store: Store, gateway: Gateway) -> None:
    store.put_upstream(upstream("one", "gpt-4o")).result()
    store.put_artifact(artifact("student-1")).result()
    store.put_route(route("gpt-4o", "gpt-4o")).result()
    store.put_route(route("gpt-4o", "student-1")).result()
    gateway.refresh()
    assert gateway.router.resolve("gpt-4o").name == "student-1"
    store.rollback_route("gpt-4o").result()
    gateway.refresh()
    assert gateway.router.resolve("gpt-4o").upstream == "one"


def test_an_upstream_without_models_answers_for_what_nobody_claims(store: Store, gateway: Gateway) -> None:
    store.put_upstream(upstream("any", may_train="no: terms")).result()
    store.put_upstream(upstream("one", "a")).result()
    store.put_route(route("alias", "whatever")).result()
    gateway.refresh()
    assert gateway.router.resolve("a").upstream == "one"
    other = gateway.router.resolve("org/model:tag")
    assert (other.upstream, other.name, other.may_train) == ("any", "org/model:tag", "no: terms")
    assert gateway.router.resolve("alias").name == "whatever"
    assert names(gateway) == ["a", "alias"]


def test_a_route_to_nowhere_hurts_no_other(store: Store, gateway: Gateway) -> None:
    store.put_upstream(upstream("one", "a")).result()
    store.put_route(route("lost", "gone")).result()
    gateway.refresh()
    assert names(gateway) == ["a"]


async def test_models_are_kept_while_their_record_is_the_same(store: Store, gateway: Gateway) -> None:
    store.put_upstream(upstream("one", "a")).result()
    gateway.refresh()
    first = gateway.router.resolve("a").model
    store.put_upstream(upstream("two", "b")).result()
    gateway.refresh()
    assert gateway.router.resolve("a").model is first
    store.put_upstream(upstream("one", "a", max_retries=1)).result()
    gateway.refresh()
    assert gateway.router.resolve("a").model is not first
    await gateway.close()


async def test_a_table_is_swapped_whole_and_those_under_way_keep_theirs() -> None:
    old, new = FakeModel(lambda _: "old"), FakeModel(lambda _: "new")
    router = Router({"m": Target(old, "m", "one")})
    under_way = router.resolve("m")
    router.swap({"m": Target(Renamed(new, "inner"), "inner", "two")})
    request = ChatRequest(b'{"model": "m",  "messages":[]}')
    assert (await under_way.model.complete(request)).text == "old"
    assert (await router.resolve("m").model.complete(request)).text == "new"
    assert old.requests[0].raw == request.raw
    assert new.requests[0].raw == b'{"model": "inner",  "messages":[]}'
    async for _ in router.resolve("m").model.stream(request):
        pass
    await router.resolve("m").model.close()
    assert new.requests[1].model == "inner" and new.closed


def test_a_student_that_is_gone_is_told_so(store: Store, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("student-1", "student-2"):
        store.put_artifact(artifact(name)).result()
    gateway.refresh()
    told: list[str] = []
    monkeypatch.setattr(StudentModel, "retire", lambda model: told.append(model.model_id))
    store.delete_artifact("student-1").result()
    gateway.refresh()
    gateway.refresh()
    assert told == ["student-1"]
