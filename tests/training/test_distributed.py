"""Two processes give the curve of one, whatever the signal; they stop together, go on together, and only the first one writes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from stillhouse.method import WhiteBox
from stillhouse.recipe import Recipe
from stillhouse.students.causal import CausalStudent
from stillhouse.training.__main__ import STOPPED, main
from stillhouse.training.distributed import Ranks
from tests.students.tiny import tiny_spec, write_tokenizer
from tests.training.forked import Forked
from tests.training.runs import recipe, run, sums, weights_hash, write_sums

REPOSITORY = Path(__file__).parent.parent.parent


def toml(plan: Recipe, path: Path) -> Path:
    """The recipe as a file; every value of TOML that a recipe holds is JSON, too, tables apart."""
    lines = ["version = 1"]
    whole = plan.model_dump(mode="json", exclude_none=True)
    for name, table in whole.items():
        if isinstance(table, dict):
            lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    path.write_text("\n".join(lines))
    return path


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + "}"
    return json.dumps(value)


Launched = Forked | subprocess.Popen[str]


def launch_as_torchrun(arguments: list[object], environ: dict[str, str]) -> Launched:
    command = [sys.executable, "-m", "stillhouse.training", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, **environ}, cwd=REPOSITORY, stdout=pipe, stderr=pipe, text=True)


def launch_forked(arguments: list[object], environ: dict[str, str]) -> Launched:
    return Forked(main, *arguments, **environ)


@contextmanager
def processes(
    world: int, *arguments: object, launch: Callable[[list[object], dict[str, str]], Launched] = launch_forked
) -> Iterator[list[Launched]]:
    """With the environment that torchrun gives them. The first one's reports are on its stdout."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    here = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    started = []
    try:
        for rank in range(world):
            started.append(launch([*arguments], {**common, **here, "RANK": str(rank), "LOCAL_RANK": str(rank)}))
        yield started
    finally:
        for process in started:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()


def ended(started: list[Launched]) -> tuple[list[int | None], list[dict[str, Any]], str]:
    """(exit statuses, what the first one reported, what all of them complained of)."""
    said = [process.communicate(timeout=240) for process in started]
    assert all(not out for out, _ in said[1:]), "only the first one reports"
    reports = [json.loads(line) for line in said[0][0].splitlines()]
    return [process.returncode for process in started], reports, "".join(err for _, err in said)


def curve(reports: list[dict[str, Any]]) -> dict[int, dict[str, float]]:
    return {
        report["step"]: {name: value for name, value in report["metrics"].items() if not name.startswith("perf/")}
        for report in reports
        if report["metrics"]
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("taught", "sizes"), [(False, {"batch_size": 8, "accumulate": 3}), (True, {"batch_size": 12, "accumulate": 2})]
)
def test_two_processes_give_the_curve_of_one(tmp_path: Path, taught: bool, sizes: dict[str, int]) -> None:
    """With micro-batches cut in two, and with whole ones going round; 3 windows of 24 and one of 1, so that a share is empty."""
    write_sums(
        tmp_path / "data", [row for row in sums() if row.split == "valid"] + [r for r in sums() if r.split == "train"][:73]
    )
    changes: dict[str, Any] = {"steps": 8, "dropout": 0.0, **sizes}
    folders: dict[str, Any] = {}
    arguments: list[object] = []
    if taught:
        changes["method"] = WhiteBox(temperature=2.0)
        folders, arguments = {"teacher_folder": tmp_path / "teacher"}, ["--teacher", tmp_path / "teacher"]
        CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer"), hidden_size=48), seed=7).save(tmp_path / "teacher")
    plan = recipe(tmp_path, **changes)
    one = run(plan, tmp_path / "data", tmp_path / "one", **folders)
    launch = launch_forked if taught else launch_as_torchrun
    with processes(2, toml(plan, tmp_path / "r.toml"), tmp_path / "data", tmp_path / "two", *arguments, launch=launch) as started:
        statuses, reports, complaints = ended(started)
    assert statuses == [0, 0], complaints
    two = curve(reports)
    assert set(two) == set(one.curve) == set(range(1, 9))
    for step, metrics in one.curve.items():
        assert two[step] == pytest.approx(metrics, abs=1e-5)
    ours, theirs = (CausalStudent.load(tmp_path / name / "student").network for name in ("one", "two"))
    for (name, weight), (_, other) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert torch.allclose(weight, other, atol=1e-4), name


@pytest.mark.slow
def test_they_stop_together_and_go_on_exactly(tmp_path: Path) -> None:
    """With dropout, so that each needs random numbers of its own; the one that is told to stop is not the one that writes."""
    write_sums(tmp_path / "data")
    plan = toml(recipe(tmp_path, steps=60, checkpoint_every=10), tmp_path / "r.toml")
    with processes(2, plan, tmp_path / "data", tmp_path / "whole") as started:
        statuses, whole, complaints = ended(started)
    assert statuses == [0, 0], complaints
    with processes(2, plan, tmp_path / "data", tmp_path / "parts") as started:
        assert started[0].stdout is not None
        first = [json.loads(started[0].stdout.readline())]
        started[1].send_signal(signal.SIGTERM)
        statuses, rest, complaints = ended(started)
    assert statuses == [STOPPED, STOPPED], complaints
    assert rest[-1]["message"].startswith("stopped at step")
    assert not (tmp_path / "parts" / "student").exists()
    with processes(2, plan, tmp_path / "data", tmp_path / "parts") as started:
        statuses, second, complaints = ended(started)
    assert statuses == [0, 0], complaints
    assert {**curve(first + rest), **curve(second)} == curve(whole)
    assert weights_hash(tmp_path / "parts") == weights_hash(tmp_path / "whole")


@pytest.mark.slow
def test_all_of_them_stop_where_one_has_no_number(tmp_path: Path) -> None:
    base = CausalStudent.build(tiny_spec(write_tokenizer(tmp_path / "tokenizer"), tie_word_embeddings=False))
    with torch.no_grad():
        base.network.get_input_embeddings().weight[base.tokenizer.convert_tokens_to_ids("z")] = torch.nan
    base.save(tmp_path / "base")
    rows = [row for row in sums() if row.split == "train"][:4]
    broken = rows[1].model_copy(update={"id": "broken", "messages": [{"role": "user", "content": "z"}]})
    write_sums(tmp_path / "data", [rows[0], broken, *rows[2:]])
    plan = recipe(tmp_path, steps=2, batch_size=1, accumulate=4)
    plan = plan.model_copy(update={"student": plan.student.model_copy(update={"config": {}})})
    with processes(2, toml(plan, tmp_path / "r.toml"), tmp_path / "data", tmp_path / "w", "--base", tmp_path / "base") as started:
        statuses, _, complaints = ended(started)
    assert statuses == [1, 1]
    assert complaints.count("The loss of step 1 is not a finite number") == 2
    assert complaints.count("examples of this batch: broken.") == 2


@pytest.mark.parametrize(
    ("world", "parts", "expected"),
    [
        (1, ["abc", "de"], [["abc", "de"]]),
        (2, ["abcd", "efgh"], [["abcd"], ["efgh"]]),
        (2, ["abcd", "efg", "h"], [["ac", "eg", "h"], ["bd", "f"]]),
        (4, ["ab"], [["a"], ["b"], [], []]),
    ],
)
def test_a_window_is_shared_out_whole(world: int, parts: list[str], expected: list[list[str]]) -> None:
    shares = [["".join(part) for part in Ranks(rank, world).share([list(part) for part in parts])] for rank in range(world)]
    assert shares == expected
