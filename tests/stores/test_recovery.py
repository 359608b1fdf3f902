"""What a server finds when it opens the database after one that died."""

from __future__ import annotations

from stillhouse.completion import CompletionQuery
from stillhouse.ids import new_id
from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from tests.stores.samples import completion, ended, keep, request_bytes


def test_open_exchanges_are_interrupted_and_keep_their_partial(settings: Settings) -> None:
    store = open_store(settings, role="server")
    begun, whole = completion(stream=True), keep(store)
    store.begin_completion(begun, request_bytes("unfinished question")).result()
    store.save_partial(begun.id, b'data: {"choices":[{"delta":{"content":"half"}}]}\n\n').result()
    store.close()
    store = open_store(settings, role="server")
    kept, payload = store.completion(begun.id), store.payload(begun.id)
    assert kept == ended(begun, "interrupted")
    assert payload is not None
    assert b"half" in (payload.response or b"")
    assert [item.id for item in store.completions(CompletionQuery()).items] == [whole]
    assert [item.id for item in store.completions(CompletionQuery(states=("interrupted",), text="unfinished")).items] == [
        begun.id
    ]
    store.close()


def test_commands_and_workers_interrupt_nobody(settings: Settings) -> None:
    store = open_store(settings, role="command")
    begun = completion()
    store.begin_completion(begun, b"{}").result()
    store.close()
    for role in ("command", "worker"):
        store = open_store(settings, role=role)
        assert store.completion(begun.id) == begun
        store.close()


def test_new_ids_sort_after_the_newest_though_the_clock_went_back(settings: Settings) -> None:
    store = open_store(settings, role="server")
    future_id = f"chatcmpl-{0x01A0_0000_0000 + 10**9:012x}7000800000000000000f"
    store.begin_completion(completion(id=future_id), b"{}").result()
    store.close()
    store = open_store(settings, role="server")
    assert new_id("chatcmpl") > future_id
    store.close()


def test_foreign_ids_do_not_stand_in_the_way(settings: Settings) -> None:
    store = open_store(settings, role="server")
    keep(store, id="chatcmpl-zzz")
    keep(store, id="chatcmpl-ffffffffffffffffffffffffffffffff")
    keep(store, id="chatcmpl-0ld")
    store.close()
    store = open_store(settings, role="server")
    assert new_id("chatcmpl") < "chatcmpl-1"
    store.close()


def test_searched_text_is_indexed_though_nothing_was_idle_before_the_end(settings: Settings) -> None:
    store = open_store(settings, role="worker")
    key = keep(store, prompt="narwhal")
    store.close()
    store = open_store(settings, role="command")
    assert [item.id for item in store.completions(CompletionQuery(text="narwhal")).items] == [key]
    store.close()
