"""From questions to a completion file to a dataset version and back, through names; killed midway nothing is paid for twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stillhouse.apply import Budget
from stillhouse.chat import ChatRequest
from stillhouse.curation.rationales import read_folder
from stillhouse.curation.rationales import sieves as kinds
from stillhouse.dataset import SPLITS, Dataset, Example
from stillhouse.errors import ConflictError, NotFoundError, UpstreamError, UsageError
from stillhouse.explaining import Method
from stillhouse.formats.examples import read_examples
from stillhouse.formats.reasoning_teacher.splits import default_split
from stillhouse.jobs.rationale_versions import Making, export_version, import_rationales
from stillhouse.jobs.rationales import Wish, generate
from stillhouse.models.fake import FakeModel
from stillhouse.reasoning import template_of
from stillhouse.routing import Target
from stillhouse.settings import Settings
from stillhouse.tasks import PAPER_TASKS
from stillhouse.workspace import Workspace
from tests.reasoning.papers import completion_row, write

Serve = Callable[[Callable[[ChatRequest], str]], FakeModel]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace(Settings(data_dir=tmp_path / "data"))
    yield opened
    opened.close()


@pytest.fixture
def serve(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Puts a function in the teacher's place."""

    def put(answer: Callable[[ChatRequest], str]) -> FakeModel:
        model = FakeModel(answer)
        monkeypatch.setattr(workspace, "target", lambda name: Target(model, name, "fake"))
        return model

    return put


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """Ten coin flips, in the paper's layout."""
    questions = PAPER_TASKS.resolve("coin_flip")(10)
    rows = [{"sample_index": index, "question": each.text, "answer": each.answer} for index, each in enumerate(questions)]
    write(tmp_path / "paper" / "data" / "dataset" / "coin_flip.json", {"metadata": {"dataset_key": "coin_flip"}, "data": rows})
    return tmp_path / "paper"


def right(request: ChatRequest) -> str:
    prompt = request.messages[-1]["content"]
    answer = "yes" if prompt.count(" flips the coin") % 2 == 0 else "no"
    return f"I count. Seed {request.body.get('seed')}.\n\nAnswer: {answer}" if "Answer: " in prompt else f" {answer}."


def wish(paper: Path, to: Path, **more: Any) -> Wish:
    return Wish(source=str(paper), model="teacher", to=to, **{"task": "coin_flip", "method": Method(seed=0), **more})


async def test_explanations_of_a_folder_and_more_of_them_later(
    workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path
) -> None:
    model = serve(right)
    method = Method(seed=0, temperature=0.5)
    made = await generate(workspace, wish(paper, tmp_path / "out", method=method))
    assert (made.questions, made.rationales, made.new, len(model.requests)) == (10, 10, 10, 10)
    content = json.loads(made.path.read_bytes())
    assert made.path.relative_to(tmp_path / "out").as_posix() == "saved/completion_data/B_teacher__C_chat/D_coin_flip.json"
    assert content["metadata"]["prediction_template"] == "chat"
    again = await generate(workspace, wish(paper, tmp_path / "out", method=method.model_copy(update={"samples": 3})))
    assert (again.rationales, again.new, len(model.requests)) == (30, 20, 30)
    [reading] = read_folder(tmp_path / "out")
    assert (reading.gold_from, len(reading.rationales)) == ("dataset", 30)
    assert all(each.said == each.answer for each in reading.rationales)
    with pytest.raises(ConflictError, match="temperature 0.5, not 0.9"):
        await generate(workspace, wish(paper, tmp_path / "out", method=Method(seed=0, temperature=0.9)))


async def test_a_run_that_dies_pays_for_nothing_twice(workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def dies(request: ChatRequest) -> str:
        if len(asked) == 6:
            raise RuntimeError("killed")
        asked.append(request.messages[-1]["content"])
        return right(request)

    serve(dies)
    one_by_one = wish(paper, tmp_path / "out", concurrency=1)
    with pytest.raises(RuntimeError, match="killed"):
        await generate(workspace, one_by_one)
    model = serve(right)
    made = await generate(workspace, one_by_one.model_copy(update={"concurrency": 4}))
    assert (made.new, len(model.requests)) == (10, 4)
    assert not list((workspace.settings.data_dir / "rationales").iterdir())


async def test_a_budget_is_never_overspent_and_a_larger_one_goes_on(
    workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path
) -> None:
    model = serve(right)
    few = wish(paper, tmp_path / "out", concurrency=10, budget=Budget(calls=4))
    made = await generate(workspace, few)
    assert (made.out_of_budget, made.rationales, made.left_out) == (True, 4, {"not asked: the budget is spent": 6})
    again = await generate(workspace, few)
    assert (again.out_of_budget, again.new, len(model.requests)) == (True, 0, 4)
    made = await generate(workspace, few.model_copy(update={"budget": Budget(calls=10)}))
    assert (made.out_of_budget, made.rationales, len(model.requests)) == (False, 10, 10)
    with pytest.raises(UsageError, match="--max-tokens"):
        await generate(workspace, few.model_copy(update={"budget": Budget(tokens=10)}))


async def test_the_teachers_terms_come_along(workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path) -> None:
    model = serve(right)
    forbidden = Target(model, "teacher", "fake", may_train="no: its terms")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "target", lambda name: forbidden)
        await generate(workspace, wish(paper, tmp_path / "out"))
    dataset = await version(workspace, tmp_path / "out")
    assert dataset.may_train == {"teacher": "no: its terms"}


async def test_questions_that_fail_are_told_and_come_another_time(
    workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path
) -> None:
    def some(request: ChatRequest) -> str:
        if len(request.messages[-1]["content"]) % 2:
            raise UpstreamError("refused", status=400)
        return right(request)

    model = serve(some)
    made = await generate(workspace, wish(paper, tmp_path / "out"))
    failed = sum(made.left_out.values())
    assert 0 < failed < 10
    assert made.rationales == 10 - failed
    before = len(model.requests)
    model = serve(right)
    assert (await generate(workspace, wish(paper, tmp_path / "out"))).rationales == 10
    assert len(model.requests) == failed <= before


async def test_a_student_is_asked_in_its_templates_words(workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path) -> None:
    model = serve(lambda request: " It was turned. --> no")
    taught = wish(paper, tmp_path / "out", method=Method(name="ft_cot_token"), finetune_key="zs_cot", limit=2)
    made = await generate(workspace, taught)
    assert made.path.parts[-2:] == ("B_teacher__C_ft_cot_token", "F_zs_cot__D_coin_flip.json")
    assert all(request.messages[-1]["content"].endswith(" ###") for request in model.requests)
    [reading] = read_folder(tmp_path / "out")
    assert (reading.finetune_key, [each.said for each in reading.rationales]) == ("zs_cot", ["no", "no"])


async def test_only_a_part_and_only_some(workspace: Workspace, serve: Serve, paper: Path, tmp_path: Path) -> None:
    serve(right)
    write(paper / "data" / "split" / "coin_flip__default.json", {"train": [1, 3, 5, 7], "test": [0]})
    made = await generate(workspace, wish(paper, tmp_path / "out", split="default", limit=3))
    assert list(json.loads(made.path.read_bytes())["data"]) == ["1", "3", "5"]


async def test_a_file_of_questions_of_ones_own(workspace: Workspace, serve: Serve, tmp_path: Path) -> None:
    serve(lambda _: "Two.\nAnswer: 2")
    (tmp_path / "sums.txt").write_text("1 and 1?\n0 and 2?\n", encoding="utf-8")
    own = Wish(source=str(tmp_path / "sums.txt"), model="big/teacher", to=tmp_path / "out", answers="number")
    made = await generate(workspace, own)
    assert made.path.parent.name == "B_big-teacher__C_chat"
    [reading] = read_folder(tmp_path / "out", answers="number")
    assert [each.said for each in reading.rationales] == ["2", "2"]
    with pytest.raises(UsageError, match="--answers"):
        await generate(workspace, own.model_copy(update={"answers": None}))


@pytest.mark.parametrize(("task", "error"), [(None, UsageError), ("aqua", NotFoundError)])
async def test_a_folder_must_be_told_which_task(
    workspace: Workspace, serve: Serve, paper: Path, task: str | None, error: type[Exception]
) -> None:
    serve(right)
    with pytest.raises(error, match="--task" if task is None else "aqua"):
        await generate(workspace, wish(paper, paper, task=task))


def folder(root: Path, size: int = 20, d: int = 2) -> Path:
    """`size` questions with `d` rationales each; the second of every question is wrong, every fifth one is thought over."""
    samples, data = [], {}
    for index in range(size):
        question = f"What is {index} and two?"
        samples.append({"sample_index": index, "question": question, "answer": str(index + 2)})
        rows = [
            completion_row(index, question, str(index + 2), f" {index + 2 + number}.", reasoning=f"{number}: step", number=number)
            for number in range(d)
        ]
        data[str(index)] = [{**row, "thinking": f"Hm, {index}."} if index % 5 == 0 else row for row in rows]
    metadata = {"base_model": "m", "dataset_key": "addsub", "completion_key": "zs_cot_t70", "prediction_template": "zs_cot"}
    write(root / "saved" / "completion_data" / "B_m__C_zs_cot_t70" / "D_addsub.json", {"metadata": metadata, "data": data})
    write(root / "data" / "dataset" / "addsub.json", {"metadata": {"dataset_key": "addsub"}, "data": samples})
    return root


async def version(workspace: Workspace, root: Path, name: str = "v", *, by: kinds.Sieve | None = None, **making: Any) -> Dataset:
    sieves = [kinds.right_answer() if by is None else by]
    return await import_rationales(workspace, name, list(read_folder(root)), root, sieves, Making(**making))


def examples_of(workspace: Workspace, dataset: Dataset) -> list[Example]:
    where = workspace.dataset_folder(dataset.fingerprint)
    return [example for split in SPLITS for example in read_examples(where, split)]


async def test_a_version_of_right_rationales_and_every_test_question(workspace: Workspace, tmp_path: Path) -> None:
    dataset = await version(workspace, folder(tmp_path / "paper"), valid=0.3)
    sides = default_split("addsub", 20)
    assert dataset.counts["train"] + dataset.counts["valid"] == len(sides["train"]) == 14
    assert dataset.counts["valid"] > 0
    assert dataset.removed == {"a test question's rationale": 12, "wrong answer": 14}
    assert dataset.teachers == {"m": 14}
    by_sample = {int(each.metadata["sample_index"]): each for each in examples_of(workspace, dataset)}
    assert {sample for sample, each in by_sample.items() if each.split == "test"} == set(sides["test"])
    tested, taught = by_sample[sides["test"][0]], by_sample[sides["train"][0]]
    assert tested.answer == tested.reference == str(sides["test"][0] + 2)
    assert taught.answer == f"0: step\nThe answer is {sides['train'][0] + 2}."
    assert (taught.metadata["rationale"], taught.metadata["final_answer"]) == ("0: step", str(sides["train"][0] + 2))


async def test_templates_weights_and_thinking(workspace: Workspace, tmp_path: Path) -> None:
    root = folder(tmp_path / "paper")
    everything: kinds.Sieve = lambda rationales: [None] * len(rationales)  # noqa: E731
    dataset = await version(
        workspace, root, by=everything, weighing="question", template=template_of("ft_cot_token"), train_on="tagged", split="all"
    )
    examples = examples_of(workspace, dataset)
    assert {each.weight for each in examples} == {0.5}
    thought = next(each for each in examples if each.metadata["sample_index"] == "5" and each.metadata["completion_index"] == "0")
    assert thought.messages == [{"role": "user", "content": "What is 5 and two? ###"}]
    assert (
        thought.answer == " <think>\nHm, 5.\n</think>\n\n0: step --> 7".replace(" 0: step", " 0: step")
        or "1: step" in thought.answer
    )
    one = await version(workspace, root, "one", by=everything, d=1, split="all", train_on="thinking")
    assert one.removed == {"enough rationales of its question": 20}
    assert any(each.answer.startswith("Hm, 5.\nThe answer is 7.") for each in examples_of(workspace, one))


async def test_what_was_imported_is_exported_as_it_came(workspace: Workspace, tmp_path: Path) -> None:
    root = folder(tmp_path / "paper")
    everything: kinds.Sieve = lambda rationales: [None] * len(rationales)  # noqa: E731
    dataset = await version(workspace, root, by=everything, split="all")
    files = export_version(workspace, dataset, tmp_path / "out")
    assert len(files) == 3
    for path in ("saved/completion_data/B_m__C_zs_cot_t70/D_addsub.json", "data/dataset/addsub.json"):
        assert json.loads((tmp_path / "out" / path).read_bytes()) == json.loads((root / path).read_bytes())


async def test_questions_that_were_put_aside_leave_gaps_that_keep_the_others_in_place(
    workspace: Workspace, tmp_path: Path
) -> None:
    root = folder(tmp_path / "paper")
    only_even: kinds.Sieve = lambda rationales: ["odd" if each.sample % 2 else None for each in rationales]  # noqa: E731
    dataset = await version(workspace, root, by=only_even)
    export_version(workspace, dataset, tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "data" / "dataset" / "addsub.json").read_bytes())["data"]
    assert [row["sample_index"] for row in rows] == list(range(len(rows)))
    split = json.loads((tmp_path / "out" / "data" / "split" / "addsub__default.json").read_bytes())
    assert sorted(split["test"]) == default_split("addsub", 20)["test"]
    assert all(rows[index]["question"] for index in [*split["train"], *split["test"]])


async def test_nothing_right_is_no_dataset(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No rationale is left"):
        await version(workspace, folder(tmp_path / "paper"), by=lambda rationales: ["no"] * len(rationales))
    with pytest.raises(NotFoundError, match="template"):
        await version(workspace, folder(tmp_path / "paper"), split="template")
