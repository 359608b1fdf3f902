"""`stillhouse upstream`, `key` and `route`: named, shown, undone; no secret kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stillhouse.cli.main import main
from stillhouse.keys import hash_secret, well_formed
from tests.fakes.upstream import FakeUpstream

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json; its output, or the exit code and the message when that is not 0."""

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as ended:
            main(["--data-dir", str(tmp_path), *arguments, "--json"])
        output = capsys.readouterr()
        return json.loads(output.out) if ended.value.code == 0 else (ended.value.code, output.err)

    return run


def test_upstreams(run: Run) -> None:
    added = run(
        "upstream", "add", "openai", "--base-url", "https://host/v1/", "--api-key-env", "KEY", "--model", "a", "--model", "b"
    )
    assert (added["base_url"], added["models"], added["may_train"]) == ("https://host/v1", ["a", "b"], "yes")
    assert run("upstream", "add", "openai", "--base-url", "https://host/v1")[0] == 5
    terms = run("upstream", "add", "other", "--base-url", "http://h/v1", "--may-train", "no", "--reason", "Terms, 2c")
    assert terms["may_train"] == "no: Terms, 2c"
    assert [item["name"] for item in run("upstream", "list")] == ["openai", "other"]
    assert run("upstream", "remove", "openai") == {"name": "openai", "removed": True}
    assert run("upstream", "remove", "openai")[0] == 5


@pytest.mark.parametrize(
    "options",
    [
        ("--base-url", "https://user:canary@host/v1"),
        ("--base-url", "file:///etc"),
        ("--base-url", "http://h/v1", "--may-train", "no"),
        ("--base-url", "http://h/v1", "--may-train", "maybe"),
        ("--base-url", "http://h/v1", "--reason", "why"),
    ],
)
def test_upstreams_that_cannot_be(run: Run, options: tuple[str, ...]) -> None:
    assert run("upstream", "add", "x", *options)[0] == 2
    assert run("upstream", "list") == []


def test_an_upstream_is_asked_whether_it_is_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeUpstream() as upstream:
        run("upstream", "add", "fake", "--base-url", upstream.base_url, "--api-key-env", "FAKE_KEY")
        code, message = run("upstream", "test", "fake")
        assert code == 1 and "set FAKE_KEY" in message
        monkeypatch.setenv("FAKE_KEY", "sk-1")
        assert run("upstream", "test", "fake")["models"] == ["gpt-4o", "other"]
        assert upstream.ledger[-1].headers["authorization"] == "Bearer sk-1"
    code, message = run("upstream", "test", "fake")
    assert code == 1 and "cannot be reached" in message
    assert run("upstream", "test", "nobody")[0] == 5


def test_keys(run: Run, tmp_path: Path) -> None:
    made = run("key", "create", "me")
    assert well_formed(made["secret"])
    (listed,) = run("key", "list")
    assert listed["name"] == "me" and made["secret"].startswith(listed["shown"]) and "hash" not in listed
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert made["secret"].encode() not in written and hash_secret(made["secret"]).encode() in written
    run("key", "create", "me")
    code, message = run("key", "revoke", "me")
    assert code == 5 and made["id"] in message
    assert run("key", "revoke", made["id"])["revoked"] is not None
    assert run("key", "revoke", made["id"])[0] == 5
    assert run("key", "revoke", "me")["revoked"] is not None


def test_routes(run: Run) -> None:
    assert run("route", "set", "my-task", "--model", "a")[0] == 5
    run("upstream", "add", "up", "--base-url", "http://h/v1", "--model", "a", "--model", "b")
    run("route", "set", "my-task", "--model", "a", "--note", "the teacher")
    assert run("route", "set", "my-task", "--model", "b")["model"] == "b"
    assert [item["model"] for item in run("route", "show")] == ["b"]
    assert [item["model"] for item in run("route", "show", "my-task")] == ["b", "a"]
    assert run("route", "rollback", "my-task")["model"] == "a"
    assert run("route", "rollback", "my-task")[0] == 5
    assert run("route", "rollback", "nothing")[0] == 5
    assert run("route", "show", "nothing")[0] == 5
    assert run("route", "set", "bad alias", "--model", "a")[0] == 2
