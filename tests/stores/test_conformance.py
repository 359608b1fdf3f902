"""What every Store promises, in every way one can be opened; of runs and documents in files beside this one."""

from __future__ import annotations

import pytest

from stillhouse.artifact import Artifact
from stillhouse.completion import CompletionQuery
from stillhouse.grade import Report
from stillhouse.keys import Key
from stillhouse.route import Route
from stillhouse.stores.base import UsageCount
from stillhouse.stores.sql import SqlStore
from stillhouse.upstream import Upstream
from tests.stores.samples import completion, dataset, ended, keep, request_bytes, response_bytes

ALL = CompletionQuery(states=(), limit=100)


def found(store: SqlStore, **filters: object) -> list[str]:
    return [item.id for item in store.completions(CompletionQuery.model_validate({"limit": 100, **filters})).items]


def test_an_exchange_is_kept_as_it_came(store: SqlStore) -> None:
    begun = completion(metadata={"user": "张三", "quote": "a\"b'c\x00d"}, tags=("good",), stream=True)
    request, response = b"\x00\xff not even JSON", bytes(range(256)) * 300
    store.begin_completion(begun, request).result()
    assert store.completion(begun.id) == begun
    whole = ended(begun, finish_reason="stop", prompt_tokens=3, completion_tokens=5, total_ms=1.5, upstream_id="x", status=200)
    store.finish_completion(whole, response).result()
    assert store.completion(begun.id) == whole
    payload = store.payload(begun.id)
    assert payload is not None
    assert (payload.request, payload.response) == (request, response)


def test_a_partial_is_kept_until_the_end_comes(store: SqlStore) -> None:
    begun = completion()
    store.begin_completion(begun, b"{}").result()
    store.save_partial(begun.id, b"first").result()
    store.save_partial(begun.id, b"first second").result()
    payload = store.payload(begun.id)
    assert payload is not None
    assert payload.response == b"first second"
    store.finish_completion(ended(begun), b"whole").result()
    store.save_partial(begun.id, b"too late").result()
    payload = store.payload(begun.id)
    assert payload is not None
    assert payload.response == b"whole"


def test_what_is_complete_stays_as_it_is(store: SqlStore) -> None:
    begun = completion()
    store.begin_completion(begun, b"{}").result()
    store.finish_completion(ended(begun), b"right").result()
    store.finish_completion(ended(begun, "failed", error="late"), b"wrong").result()
    store.begin_completion(begun, b"again").result()
    kept, payload = store.completion(begun.id), store.payload(begun.id)
    assert kept == ended(begun)
    assert payload is not None
    assert (payload.request, payload.response) == (b"{}", b"right")


def test_of_two_ends_in_one_group_the_complete_one_wins(store: SqlStore) -> None:
    begun = completion()
    futures = [store.begin_completion(begun, b"{}")]
    futures += [store.finish_completion(ended(begun, state), state.encode()) for state in ("truncated", "complete", "failed")]
    for future in futures:
        future.result()
    assert store.completion(begun.id) == ended(begun)
    payload = store.payload(begun.id)
    assert payload is not None
    assert payload.response == b"complete"


def test_what_was_deleted_before_its_end_does_not_come_back(store: SqlStore) -> None:
    begun, other = completion(metadata={"a": "1"}), completion()
    futures = [store.begin_completion(begun, b"{}"), store.begin_completion(other, b"{}")]
    assert store.delete_completions([begun.id]).result() == 1
    futures += [store.finish_completion(ended(begun), b"whole"), store.finish_completion(ended(other), b"whole")]
    for future in futures:
        future.result()
    assert [found.id for found in store.completions(ALL).items] == [other.id]
    assert store.payload(begun.id) is None
    store.begin_completion(begun, b"{}").result()  # an import, or the same exchange sent again
    store.finish_completion(ended(begun), b"whole").result()
    assert store.completion(begun.id) == ended(begun)


def test_an_interrupted_exchange_may_still_end(store: SqlStore) -> None:
    begun = completion(state="interrupted")
    store.begin_completion(begun, b"{}").result()
    store.finish_completion(ended(begun), b"whole").result()
    assert store.completion(begun.id) == ended(begun)


def test_labels_edited_meanwhile_survive_the_end(store: SqlStore) -> None:
    begun = completion(metadata={"a": "1"})
    store.begin_completion(begun, b"{}").result()
    assert store.set_metadata(begun.id, {"b": "2"}).result()
    assert store.tag_completions([begun.id, "chatcmpl-none"], add=["good"]).result() == 1
    store.finish_completion(ended(begun), b"{}").result()
    kept = store.completion(begun.id)
    assert kept is not None
    assert (kept.metadata, kept.tags) == ({"b": "2"}, ("good",))


def test_nothing_is_found_where_nothing_is(store: SqlStore) -> None:
    assert store.completion("chatcmpl-none") is None
    assert store.payload("chatcmpl-none") is None
    assert store.set_metadata("chatcmpl-none", {}).result() is False
    assert store.delete_completions(["chatcmpl-none"]).result() == 0
    assert store.completions(ALL).items == []


def test_pages_follow_one_another_in_both_orders(store: SqlStore) -> None:
    ids = [keep(store) for _ in range(5)]
    for order, expected in (("asc", ids), ("desc", ids[::-1])):
        seen: list[str] = []
        more, after = True, None
        while more:
            page = store.completions(CompletionQuery.model_validate({"after": after, "limit": 2, "order": order}))
            seen += [item.id for item in page.items]
            more, after = page.has_more, seen[-1]
        assert seen == expected


def test_every_filter_selects_and_all_must_hold(store: SqlStore) -> None:
    one = keep(store, metadata={"user": "1", "team": "a"}, created=100, finish_reason="stop")
    two = keep(
        store, metadata={"user": "2", "team": "a"}, created=200, finish_reason="length", model="other", requested_model="alias"
    )
    begun = completion(metadata={"user": "1"}, created=300)
    store.begin_completion(begun, b"{}").result()
    store.tag_completions([two], add=["good", "new"], remove=["old"]).result()
    assert found(store) == [one, two]
    assert found(store, states=("started",)) == [begun.id]
    assert found(store, states=()) == [one, two, begun.id]
    assert found(store, metadata={"team": "a"}) == [one, two]
    assert found(store, metadata={"team": "a", "user": "2"}) == [two]
    assert found(store, model="alias") == found(store, model="other") == [two]
    assert found(store, created_after=200) == [two]
    assert found(store, created_before=200) == [one]
    assert found(store, finish_reason="length") == [two]
    assert found(store, tag="good") == [two]
    assert found(store, tag="good", model="gpt-4o") == []


def test_tags_come_and_go(store: SqlStore) -> None:
    one = keep(store)
    store.tag_completions([one], add=["b", "a", "a"]).result()
    store.tag_completions([one], add=["a"], remove=["b"]).result()
    kept = store.completion(one)
    assert kept is not None
    assert kept.tags == ("a",)


def test_what_is_deleted_is_gone_everywhere(store: SqlStore) -> None:
    one, two = (keep(store, prompt="unicorns", metadata={"k": "v"}) for _ in range(2))
    assert found(store, text="unicorns") == [one, two]
    assert store.delete_completions([one]).result() == 1
    assert store.completion(one) is None
    assert store.payload(one) is None
    assert found(store, text="unicorns") == found(store, metadata={"k": "v"}) == [two]


def test_search_finds_prompts_and_answers_in_any_script(store: SqlStore) -> None:
    one = keep(store, prompt="客户要求退款，但订单已经发货，请按退货流程处理。", answer="按合同支付违约金。")
    two = keep(store, prompt="重跑gen-itgc后修复", answer="Refund issued")
    begun = completion(stream=True)
    store.begin_completion(begun, request_bytes("a stream")).result()
    deltas = b"".join(b'data: {"choices":[{"index":0,"delta":{"content":"%s"}}]}\n\n' % part for part in (b"wom", b"bat"))
    store.finish_completion(ended(begun), deltas + b"data: [DONE]\n\n").result()
    for text, expected in {
        "退款": [one],
        "违约金": [one],
        "退货流程": [one],
        "流": [one],
        "货订": [],
        "gen": [two],
        "REFUND": [two],
        "refund 修复": [two],
        "refund 退款": [],
        "wombat": [begun.id],
        "…": [],
    }.items():
        assert found(store, text=text) == expected, text


@pytest.mark.parametrize(
    "text", ['"', "a OR b", "NEAR(a b)", "words: a", "a*", "(", "-", "a AND", "'; DROP TABLE completions; --", "\x00"]
)
def test_what_people_type_is_never_query_syntax(store: SqlStore, text: str) -> None:
    keep(store)
    assert found(store, text=text) == []


def test_usage_adds_up(store: SqlStore) -> None:
    count = UsageCount(day="2026-11-20", upstream="u", model="m", stored=True, requests=1, prompt_tokens=10, completion_tokens=2)
    other = count.model_copy(update={"stored": False, "failed": 1})
    for future in [store.count_usage(item) for item in (count, other, count, count)]:
        future.result()
    three = count.model_copy(update={"requests": 3, "prompt_tokens": 30, "completion_tokens": 6})
    assert store.usage() == [other, three]


def test_datasets_are_found_by_name_version_and_fingerprint(store: SqlStore) -> None:
    old, new, other = dataset("a", "11aa"), dataset("a", "22bb"), dataset("b", "11aa")
    for item in (old, new, other):
        store.put_dataset(item).result()
    assert store.dataset("a") == new
    assert store.dataset("a@11") == store.dataset("a@sha256:11aa") == old
    assert store.dataset("sha256:22bb") == new
    assert store.dataset("b") == other
    assert store.dataset("a@33") is None
    assert store.dataset("a@%") is None
    assert store.datasets("a") == [new, old]
    assert len(store.datasets()) == 3


def test_a_dataset_is_deleted_by_name_and_version(store: SqlStore) -> None:
    old, new, other = dataset("a", "11aa"), dataset("a", "22bb"), dataset("b", "11aa")
    for item in (old, new, other):
        store.put_dataset(item).result()
    assert store.delete_dataset("a", "sha256:11aa").result() is True
    assert store.delete_dataset("a", "sha256:11aa").result() is False
    assert store.datasets() == [other, new]


def test_artifacts_and_reports_come_back_whole(store: SqlStore) -> None:
    artifact = Artifact(
        id="student-1", kind="linear", created=1, parameters=2, size_bytes=3, hashes={"a": "b"}, metrics={"x": 0.5}
    )
    report = Report(
        id="report-1", name="r", created=1, dataset="sha256:1", split="test", examples=1, graders=("exact",), results=()
    )
    store.put_artifact(artifact).result()
    store.put_report(report).result()
    assert (store.artifact("student-1"), store.artifacts(), store.artifact("none")) == (artifact, [artifact], None)
    assert (store.report("report-1"), store.reports("r"), store.reports("s")) == (report, [report], [])


def test_upstreams_and_keys_are_replaced_by_name(store: SqlStore) -> None:
    store.put_upstream(Upstream(name="b", base_url="http://b")).result()
    store.put_upstream(Upstream(name="a", base_url="http://a", models=("m",))).result()
    store.put_upstream(Upstream(name="b", base_url="http://c", may_train="no: terms")).result()
    assert [(item.name, item.base_url) for item in store.upstreams()] == [("a", "http://a"), ("b", "http://c")]
    assert store.delete_upstream("a").result() is True
    assert store.delete_upstream("a").result() is False
    key = Key(id="key-1", name="n", hash="h", shown="s", created=1)
    store.put_key(key).result()
    store.put_key(key.model_copy(update={"revoked": 2})).result()
    assert store.keys() == [key.model_copy(update={"revoked": 2})]


def test_a_route_rolls_back_one_step_at_a_time(store: SqlStore) -> None:
    routes = [Route(alias="task", model=model, created=1) for model in ("teacher", "student-1", "student-2")]
    for route in (*routes, Route(alias="other", model="m", created=1)):
        store.put_route(route).result()
    assert [route.model for route in store.routes()] == ["m", "student-2"]
    assert store.route_history("task") == routes[::-1]
    assert store.rollback_route("task").result() == routes[1]
    assert store.rollback_route("task").result() == routes[0]
    assert store.rollback_route("task").result() is None
    assert store.rollback_route("none").result() is None
    assert store.route_history("task") == routes[:1]


def test_writes_take_effect_in_the_order_they_were_submitted(store: SqlStore) -> None:
    futures = [store.put_upstream(Upstream(name="u", base_url=f"http://{n}")) for n in range(40)]
    deleted = store.delete_upstream("u")
    last = store.put_upstream(Upstream(name="u", base_url="http://last"))
    for future in (*futures, last):
        future.result()
    assert deleted.result()
    assert [item.base_url for item in store.upstreams()] == ["http://last"]


def test_one_poisoned_row_fails_alone_or_is_mended(store: SqlStore) -> None:
    begun = [completion() for _ in range(100)]
    begun[40] = completion(prompt_tokens=2**70)
    begun[60] = completion(error="\ud83d lone", metadata={"k\udc00": "v\ud800"})
    futures = [store.begin_completion(item, request_bytes("x")) for item in begun]
    failed = [place for place, future in enumerate(futures) if future.exception() is not None]
    assert failed == [40]
    assert len(store.completions(ALL).items) == 99
    mended = store.completion(begun[60].id)
    assert mended is not None
    assert "lone" in (mended.error or "")


def test_large_payloads_pass(store: SqlStore) -> None:
    begun = [completion() for _ in range(4)]
    large = [bytes([n]) * (3 * 2**20) + response_bytes("x") for n in range(4)]
    for future in [store.begin_completion(item, data) for item, data in zip(begun, large, strict=True)]:
        future.result()
    for item, data in zip(begun, large, strict=True):
        payload = store.payload(item.id)
        assert payload is not None
        assert payload.request == data
