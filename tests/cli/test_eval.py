"""`stillhouse eval`, over the models of an upstream that is there, and over models that are scripted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from stillhouse.artifact import Artifact
from stillhouse.chat import ChatModel, ChatRequest, ChatResponse
from stillhouse.cli.main import main
from stillhouse.errors import NotFoundError
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.grading import voting_rule
from stillhouse.jobs.standing_sources import measures_of
from stillhouse.route import Route
from stillhouse.settings import Settings
from stillhouse.upstream import Upstream
from stillhouse.workspace import Workspace
from tests.evaluation.models import Speaker, example
from tests.fakes.upstream import FakeUpstream, answer_to

EXAMPLES = [example(n, "yes" if n % 3 else "no", task="coin" if n < 20 else "dice") for n in range(30)]


def truth(question: str) -> str:
    return EXAMPLES[int(question.split()[-1])].answer


SAYS: dict[str, Callable[[str], str]] = {
    "teacher": truth,
    "student-1": lambda question: "yes",
    "student-2": lambda question: truth(question) if int(question.split()[-1]) < 27 else "[bold]?",
}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """With a dataset `flips` of thirty test examples, and an artifact `student-1`."""
    opened = Workspace(Settings(data_dir=tmp_path))
    draft = write_dataset_folder(tmp_path / "draft", EXAMPLES, name="flips")
    folder = opened.dataset_folder(draft.fingerprint)
    folder.parent.mkdir()
    (tmp_path / "draft").rename(folder)
    opened.store.put_dataset(draft).result()
    artifact = Artifact(id="student-1", kind="linear", created=0, parameters=1234, size_bytes=5_000_000, hashes={})
    opened.store.put_artifact(artifact).result()
    yield opened
    opened.close()


@pytest.fixture
def scripted(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> dict[str, Speaker]:
    """The models of SAYS instead of real ones; what was asked of them."""
    speakers: dict[str, Speaker] = {}

    def chat_model(self: Workspace, name: str) -> ChatModel:
        if name not in SAYS:
            raise NotFoundError(f"There is no model '{name}'.")
        speakers[name] = Speaker(SAYS[name], {"prompt_tokens": 10, "completion_tokens": 1})
        return speakers[name]

    monkeypatch.setattr(Workspace, "chat_model", chat_model)
    return speakers


class Line:
    """The command line on a data folder."""

    def __init__(self, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data_dir = data_dir
        self.capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["--data-dir", str(self.data_dir), "eval", *arguments])
        captured = self.capsys.readouterr()
        self.err = captured.err
        assert ended.value.code == code, captured.err
        return captured.out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return orjson.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> Line:
    data_dir = workspace.settings.data_dir
    workspace.close()
    return Line(data_dir, capsys)


def test_a_report_is_printed_kept_listed_and_shown_again(line: Line, scripted: dict[str, Speaker]) -> None:
    report = line.json("run", "flips", "--student", "student-1", "--teacher", "teacher", "--slice", "task", "--grader", "answer")
    student, teacher = report["results"]
    assert (student["role"], student["accuracy"]["answer"]["value"]) == ("student", pytest.approx(2 / 3))
    assert (student["parameters"], student["size_bytes"], student["cost"]) == (1234, 5_000_000, None)
    assert teacher["accuracy"]["answer"]["value"] == 1
    assert student["slices"]["label=no"]["answer"]["value"] == 0
    assert {"task=coin", "task=dice"} <= set(student["slices"])
    assert [listed["id"] for listed in line.json("list")] == [report["id"]]
    assert line.json("show", report["id"]) == line.json("show", "flips") == report
    table = line("show", "flips")
    for shown in ("student-1", "66.7 %", "-33.3", "label=no (10)", "5.0 MB", "certainly worse"):
        assert shown in table
    assert report["id"] in line("list")


def test_through_a_real_upstream_and_an_alias(line: Line, workspace: Workspace, tmp_path: Path) -> None:
    right = [
        one.model_copy(update={"answer": answer_to({"messages": one.messages}) if number % 2 else "else"})
        for number, one in enumerate(EXAMPLES)
    ]
    made = write_dataset_folder(tmp_path / "other", right, name="far")
    (tmp_path / "other").rename(workspace.dataset_folder(made.fingerprint))
    with FakeUpstream() as upstream:
        workspace.store.put_dataset(made).result()
        workspace.store.put_upstream(Upstream(name="fake", base_url=upstream.base_url, models=("gpt-4o",))).result()
        workspace.store.put_route(Route(alias="my-task", model="gpt-4o", created=1)).result()
        workspace.close()
        report = line.json("run", "--dataset", "far", "--student", "my-task", "--concurrency", "4", "--name", "first")
        assert len(upstream.ledger) == 30
        assert {served.body["model"] for served in upstream.ledger} == {"gpt-4o"}
    (result,) = report["results"]
    assert (report["name"], result["model"], result["accuracy"]["exact"]["value"]) == ("first", "my-task", 0.5)
    assert report["settings"]["resolved"] == {"my-task": "gpt-4o"}
    assert (result["prompt_tokens"], result["completion_tokens"]) == (210, 330)
    assert result["latency_p50_ms"] > 0


def test_a_gate_that_is_not_met_ends_with_3_after_the_report(line: Line, scripted: dict[str, Speaker]) -> None:
    assert line.json("run", "flips", "--student", "student-1", "--fail-under", "0.9", code=3)["id"]
    assert "FAIL" in line.err
    assert line.json("run", "flips", "--student", "student-1", "--fail-under", "0.5")["id"]
    assert "pass" in line.err


def test_failures_are_those_of_the_student_and_markup_in_them_is_text(line: Line, scripted: dict[str, Speaker]) -> None:
    report = line.json("run", "flips", "--student", "student-2", "--teacher", "teacher")
    failed = line.json("failures", report["id"])
    assert [row["example"] for row in failed] == ["e27", "e28", "e29"]
    table = line("failures", report["id"])
    assert "[bold]?" in table
    assert "question 27" in table
    assert line.json("failures", report["id"], "--model", "teacher") == []
    line("failures", report["id"], "--model", "nobody", code=2)
    assert "student-2, teacher" in line.err
    line("failures", report["id"], "--grader", "nope", code=2)


def test_two_reports_are_compared_by_example(line: Line, scripted: dict[str, Speaker]) -> None:
    before = line.json("run", "flips", "--student", "student-1")["id"]
    after = line.json("run", "flips", "--student", "student-2")["id"]
    (change,) = line.json("compare", before, after)
    assert (change["before"], change["after"], change["paired"]) == ("student-1", "student-2", True)
    assert (change["fixed"], change["broken"], change["examples"]) == (9, 2, 30)
    assert change["delta"]["value"] == pytest.approx(7 / 30)
    assert "+23.3" in line("compare", before, after)


def test_a_margin_asks_for_a_verdict(line: Line, scripted: dict[str, Speaker]) -> None:
    worse = line.json("run", "flips", "--student", "student-1", "--name", "worse")["id"]
    better = line.json("run", "flips", "--student", "student-2", "--name", "better")["id"]
    (change,) = line.json("compare", "worse", "better", "--margin", "0.05")
    assert change["verdict"]["outcome"] == "non_inferior"
    (change,) = line.json("compare", better, worse, "--margin", "0.05")
    assert change["verdict"]["outcome"] == "not_certain" and change["verdict"]["more_examples"] > 0
    line("compare", better, worse, "--margin", "0.05")
    assert "more examples needed" in line.err
    (change,) = line.json("compare", better, worse)
    assert change["verdict"] is None


def test_what_a_model_was_trained_on_is_looked_up(line: Line, workspace: Workspace, scripted: dict[str, Speaker]) -> None:
    learned = [each.model_copy(update={"split": "train"}) for each in EXAMPLES[:4]]
    draft = write_dataset_folder(line.data_dir / "draft", learned, name="learned")
    (line.data_dir / "draft").rename(workspace.dataset_folder(draft.fingerprint))
    artifact = Artifact(
        id="student-2", kind="linear", created=0, parameters=1, size_bytes=1, hashes={}, dataset=draft.fingerprint
    )
    workspace.store.put_artifact(artifact).result()
    workspace.close()
    report = line.json("run", "flips", "--student", "student-2", "--teacher", "teacher")["id"]
    student, teacher = line.json("contamination", report)
    assert (student["checked"], student["equal"], student["questions"]) == (True, 4, 30)
    assert not teacher["checked"]
    table = line("contamination", report)
    assert "question 3" in table and "1.00" in table
    assert "of 30 questions stand in the data" in line.err and "Not checked" in line.err


def test_a_limit_draws_the_same_examples_every_time(line: Line, scripted: dict[str, Speaker]) -> None:
    asked = []
    for _ in range(2):
        assert line.json("run", "flips", "--student", "student-1", "--limit", "7", "--concurrency", "1")["examples"] == 7
        asked.append([request.raw for request in scripted["student-1"].requests])
    assert asked[0] == asked[1]
    assert len(asked[0]) == 8


def test_an_evaluation_that_ended_is_asked_afresh_the_next_time(line: Line, scripted: dict[str, Speaker]) -> None:
    for _ in range(2):
        line("run", "flips", "--student", "student-1")
        assert len(scripted["student-1"].requests) == 31  # the first one twice: loading is not measured
    assert list((line.data_dir / "evals").iterdir()) == []


def test_one_that_broke_off_goes_on(line: Line, scripted: dict[str, Speaker], monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(question: str) -> str:
        if question == "question 20":
            raise RuntimeError("the power went")
        return "yes"

    monkeypatch.setitem(SAYS, "student-1", breaks)
    with pytest.raises(RuntimeError, match="the power went"):
        main(["--data-dir", str(line.data_dir), "eval", "run", "flips", "--student", "student-1", "--concurrency", "1"])
    line.capsys.readouterr()
    monkeypatch.setitem(SAYS, "student-1", lambda question: "yes")
    report = line.json("run", "flips", "--student", "student-1", "--concurrency", "1")
    assert len(scripted["student-1"].requests) == 11
    assert report["results"][0]["accuracy"]["exact"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["run", "nosuch", "--student", "student-1"], 5, "nosuch"),
        (["run", "--student", "student-1"], 2, "No dataset"),
        (["run", "flips"], 2, "no model"),
        (["run", "flips", "--student", "nobody"], 5, "nobody"),
        (["run", "flips", "--student", "student-1", "--grader", "nope"], 2, "There are: answer, exact, "),
        (["run", "flips", "--student", "student-1", "--split", "all"], 2, "train, valid, test"),
        (["run", "flips", "--student", "student-1", "--split", "train"], 2, "empty"),
        (["run", "flips", "--student", "student-1", "--teacher", "student-1"], 2, "two roles"),
        (["show", "nosuch"], 5, "eval list"),
        (["compare", "a", "b"], 5, "eval list"),
    ],
)
def test_a_mistake_says_what_there_is(
    line: Line, scripted: dict[str, Speaker], arguments: list[str], code: int, complaint: str
) -> None:
    assert line(*arguments, code=code) == ""
    assert complaint in line.err


class Sampled(Speaker):
    """Wrong in its first choice, right in the two others."""

    async def complete(self, request: ChatRequest) -> ChatResponse:
        body = (await super().complete(request)).body
        text = body["choices"][0]["message"]["content"]
        said = ["yes" if text == "no" else "no", f"{text}, I think.", f"The answer is {text}."][: request.n]
        choices = [{"index": at, "message": {"role": "assistant", "content": each}} for at, each in enumerate(said)]
        return ChatResponse.build({**body, "choices": choices})


def test_of_several_answers_the_majoritys_counts(line: Line, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the report of it is a line of `cot report`, task by task."""
    models = {name: Sampled(truth) for name in SAYS}
    monkeypatch.setattr(Workspace, "chat_model", lambda self, name: models[name])
    options = ["--student", "student-1", "--grader", "answer:yes_no", "--slice", "task"]
    assert line.json("run", "flips", *options)["results"][0]["accuracy"]["answer:yes_no"]["value"] == 0
    report = line.json("run", "flips", *options, "--samples", "3")
    assert report["results"][0]["accuracy"]["answer:yes_no"]["value"] == 1
    assert {(each.n, each.body["temperature"]) for each in models["student-1"].requests[-30:]} == {(3, 0.7)}
    found = measures_of(workspace, report["id"])
    assert {(each.task, each.role, each.n, each.correct, each.decoding, each.parameters) for each in found} == {
        ("coin", "student", 20, 20, "majority of 3", 1234),
        ("dice", "student", 10, 10, "majority of 3", 1234),
    }


def test_votes_are_counted_by_the_graders_rule() -> None:
    answers, place = voting_rule(["exact", "answer:choice:A-C@ft_cot_token"])
    assert (answers.name, place.markers) == ("choice:A-C", ("-->",))
    assert voting_rule(["exact"])[0].name == "text"
