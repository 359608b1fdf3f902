"""Whatever happens to a cache's files, nothing that is read was not written; what was lost is written again, and only that."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stillhouse.errors import ConflictError, NotFoundError, StoreError
from stillhouse.signals import Entry, HiddenRows, Shape, SignalReader, SignalWriter, Tier
from stillhouse.signals.blocks import Column
from tests.signals.said import TIERS, entries, key, part, read, rows_of_chance, same, write

COUNTS = [3, 1, 4, 2, 5, 1]
SHARD = 700
"""Bytes: a shard holds a block or two."""


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("tier", TIERS)
def test_the_same_examples_give_the_same_bytes(tmp_path: Path, tier: Tier) -> None:
    first, second = (write(tmp_path / name, tier, COUNTS) for name in ("first", "second"))
    assert contents(first) == contents(second)


def test_large_caches_have_several_shards(tmp_path: Path) -> None:
    folder = write(tmp_path, "top_k", COUNTS, shard_bytes=SHARD)
    sizes = [path.stat().st_size for path in sorted(folder.glob("shard-*"))]
    assert len(sizes) == 3
    assert max(sizes) <= SHARD
    assert same(read(folder, entries(COUNTS)), rows_of_chance("top_k", sum(COUNTS), 40, 0))


def test_each_example_is_written_once(tmp_path: Path) -> None:
    before = contents(write(tmp_path, "top_k", COUNTS))
    assert contents(write(tmp_path, "top_k", COUNTS)) == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path) -> None:
    path.unlink()


DAMAGES = [cut, change, empty, remove]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["shard-0000.blocks", "shard-0001.blocks", "journal"])
def test_damage_is_found_and_only_what_it_hit_is_written_again(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    folder, listed = write(tmp_path, "top_k", COUNTS, shard_bytes=SHARD), entries(COUNTS)
    damage(folder / name)
    reader = SignalReader(folder)
    lost = reader.missing(listed)
    assert 0 < len(lost) <= len(listed)
    assert reader.damage or name == "journal"  # a journal that is gone, or ends where a line ends, says nothing
    whole = rows_of_chance("top_k", sum(COUNTS), 40, 0)
    row = 0
    for entry in listed:
        if entry not in lost:
            assert same(reader.rows([entry.example]), part(whole, row, row + entry.rows))
        row += entry.rows
    with SignalWriter(tmp_path, key("top_k"), Shape(vocabulary=40)) as writer:
        assert writer.missing(listed) == lost
    write(tmp_path, "top_k", COUNTS, shard_bytes=SHARD)
    mended = SignalReader(folder)
    assert not mended.damage
    assert same(mended.rows([entry.example for entry in listed]), whole)


def test_a_damaged_block_costs_its_own_examples_alone(tmp_path: Path) -> None:
    folder = write(tmp_path, "hidden", COUNTS, each=1)
    change(folder / "shard-0000.blocks")
    assert len(SignalReader(folder).missing(entries(COUNTS))) == 1


@pytest.mark.parametrize("name", ["cache.json", "head.block"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_description_or_head_is_refused_then_mended(tmp_path: Path, name: str, damage: Callable[[Path], None]) -> None:
    def build() -> None:
        head = {"weight": rows_of_chance("logits", 40, 5, 1).scores_NV}  # type: ignore[union-attr]
        with SignalWriter(tmp_path, key("hidden"), Shape(vocabulary=40), head) as writer:
            if writer.missing(entries([2])):
                writer.add(entries([2]), rows_of_chance("hidden", 2, 40, 0))

    build()
    folder = tmp_path / key("hidden").name
    before = contents(folder)
    damage(folder / name)
    with pytest.raises((StoreError, NotFoundError)):
        SignalReader(folder)
    build()
    assert contents(folder) == before


def test_another_content_under_the_same_id_is_refused(tmp_path: Path) -> None:
    reader = SignalReader(write(tmp_path, "top_k", COUNTS))
    reader.check(entries(COUNTS))
    with pytest.raises(StoreError, match="example-0 is not what the teacher read.*Use the tokenizer"):
        reader.check([Entry(example="example-0", content="another", rows=3)])
    with pytest.raises(StoreError, match="example-0 is not what"):
        reader.check([Entry(example="example-0", content="content-0", rows=4)])
    with pytest.raises(NotFoundError, match="knows no example new"):
        reader.check([Entry(example="new", content="content-0", rows=4)])
    with pytest.raises(NotFoundError, match="knows no example new"):
        reader.rows(["new"])


def test_an_example_with_another_content_is_written_again_and_read_as_it_is_now(tmp_path: Path) -> None:
    folder, changed = write(tmp_path, "hidden", COUNTS), Entry(example="example-0", content="another", rows=1)
    now = rows_of_chance("hidden", 1, 40, 9)
    with SignalWriter(tmp_path, key("hidden"), Shape(vocabulary=40)) as writer:
        assert writer.missing([changed]) == [changed]
        writer.add([changed], now)
        assert writer.missing([changed]) == []
    assert same(read(folder, [changed]), now)


def test_two_processes_do_not_write_one_cache(tmp_path: Path) -> None:
    with (
        SignalWriter(tmp_path, key("hidden"), Shape(vocabulary=40)),
        pytest.raises(ConflictError, match="Another process is writing"),
    ):
        SignalWriter(tmp_path, key("hidden"), Shape(vocabulary=40))


def test_a_full_disk_is_said_and_leaves_the_cache_whole(tmp_path: Path) -> None:
    folder, listed = write(tmp_path, "hidden", [3]), entries([3, 40])
    size = (folder / "shard-0000.blocks").stat().st_size
    before = contents(folder)
    with SignalWriter(tmp_path, key("hidden"), Shape(vocabulary=40)) as writer:
        with files_up_to(size + 100), pytest.raises(StoreError, match=r"make room and start again"):
            writer.add(listed[1:], rows_of_chance("hidden", 40, 40, 0))
        assert contents(folder) == before
        assert writer.missing(listed) == listed[1:]
        writer.add(listed[1:], rows_of_chance("hidden", 40, 40, 0))
    assert SignalReader(folder).missing(listed) == []


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_unpacked_blocks_stay_within_the_budget(tmp_path: Path) -> None:
    folder, listed = write(tmp_path, "top_k", COUNTS, each=1), entries(COUNTS)
    reader = SignalReader(folder, budget=200)
    for _ in range(2):
        for i, entry in enumerate(listed):
            row = sum(COUNTS[:i])
            assert same(reader.rows([entry.example]), part(rows_of_chance("top_k", sum(COUNTS), 40, 0), row, row + COUNTS[i]))
            assert reader.unpacked_bytes <= 200


def test_states_that_are_kept_beside_are_read_by_name(tmp_path: Path) -> None:
    states = rows_of_chance("hidden", 7, 40, 3)
    assert isinstance(states, HiddenRows)
    kept = key("hidden", states=("pooled",))
    with SignalWriter(tmp_path, kept, Shape(vocabulary=40)) as writer:
        writer.add(entries([1, 2]), rows_of_chance("hidden", 3, 40, 0), {"pooled": Column(states.states_NH, lengths=(3, 4))})
    reader = SignalReader(tmp_path / kept.name)
    second, first = reader.states(["example-1", "example-0"], "pooled")
    assert (second == states.states_NH[3:]).all()
    assert (first == states.states_NH[:3]).all()
    with pytest.raises(NotFoundError, match="keeps no 'queries.1'. It keeps: pooled"):
        reader.states(["example-0"], "queries.1")
