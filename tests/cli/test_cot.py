"""`stillhouse cot`: the figures that were published, from the texts alone; what is kept, and why the rest is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Stillhouse
from tests.reasoning.papers import OTHER_TASKS, write_paper

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "reasoning"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the real completions are not here")
KEPT = {
    "multiarith": 472,
    "gsm8k": 542,
    "last_letter_concatenation": 288,
    "coin_flip": 457,
    "strategy_qa": 1254,
    "commonsense_qa": 789,
}


@real
@pytest.mark.parametrize("rule", ["published", "numeric"])
def test_the_published_accuracies_come_out(stillhouse: Stillhouse, rule: str) -> None:
    published = json.loads((DATA / "published_accuracy.json").read_bytes())
    runs = stillhouse("cot", "score", DATA, "--rule", rule, "--json").json["runs"]
    assert {run["dataset_key"] for run in runs} == set(published)
    assert {(run["base_model"], run["completion_key"]) for run in runs} == {("text-davinci-002", "zs_cot")}
    for run in runs:
        target = published[run["dataset_key"]]
        assert run["n"] == target["n"]
        assert run["accuracy"] == pytest.approx(target[rule], abs=0.001)


@real
def test_what_is_kept_and_fine_tuning_data_of_the_train_split(stillhouse: Stillhouse, tmp_path: Path) -> None:
    out = tmp_path / "out"
    runs = stillhouse("cot", "filter", DATA, "--out", out, "--template", "ft_cot_token", "--json").json["runs"]
    assert {run["dataset_key"]: run["kept"] for run in runs} == KEPT
    for run in runs:
        assert run["n"] == run["kept"] + sum(run["put_aside"].values())
        assert len(Path(run["put_aside_file"]).read_text().splitlines()) == run["n"] - run["kept"]
    for task in ("multiarith", "last_letter_concatenation"):
        train = set(json.loads((DATA / "split" / f"{task}__default.json").read_bytes())["train"])
        kept = json.loads((out / f"saved/completion_data/B_text-davinci-002__C_zs_cot/D_{task}.json").read_bytes())
        lines = (out / f"saved/finetune_data/P_openai/F_zs_cot_{task}.jsonl").read_text().splitlines()
        assert len(lines) == sum(int(sample) in train for sample in kept["data"])
        assert all(json.loads(line)["completion"].endswith(" END") for line in lines)
    missing = {run["dataset_key"] for run in runs if run["no_finetune"]}
    assert missing == {"gsm8k", "commonsense_qa"}  # their splits are of questions that are not all here


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("rule", ["published", "numeric"])
def test_the_other_tasks_are_scored_by_the_same_command(stillhouse: Stillhouse, tmp_path: Path, rule: str, bare: bool) -> None:
    runs = stillhouse("cot", "score", write_paper(tmp_path / "paper", bare=bare), "--rule", rule, "--json").json["runs"]
    for run in runs:
        said = OTHER_TASKS[run["dataset_key"]]
        right = sum(one.published if rule == "published" else one.numeric for one in said)
        assert (run["n"], run["correct"], run["accuracy"]) == (len(said), right, 100 * right / len(said))
    assert {run["dataset_key"] for run in runs} == set(OTHER_TASKS)


def test_a_table_for_people(stillhouse: Stillhouse, tmp_path: Path) -> None:
    ran = stillhouse("cot", "score", write_paper(tmp_path))
    assert "tracking_shuffled_objects" in ran.out
    assert "put aside" in stillhouse("cot", "filter", tmp_path).out


def test_put_aside_rows_say_why(stillhouse: Stillhouse, tmp_path: Path) -> None:
    write_paper(tmp_path, tasks={"svamp": OTHER_TASKS["svamp"]})
    [run] = stillhouse("cot", "filter", tmp_path, "--out", tmp_path / "out", "--rule", "published", "--json").json["runs"]
    assert (run["kept"], run["put_aside"]) == (3, {"wrong answer": 2})
    rows = [json.loads(line) for line in Path(run["put_aside_file"]).read_text().splitlines()]
    assert [(row["reason"], row["sample_index"]) for row in rows] == [("wrong answer", 1), ("wrong answer", 2)]
    assert len(json.loads(Path(run["kept_file"]).read_bytes())["data"]) == 3


def test_a_grader_decides_instead_of_the_gold_answer(stillhouse: Stillhouse, tmp_path: Path) -> None:
    write_paper(tmp_path, tasks={"svamp": OTHER_TASKS["svamp"]})
    [run] = stillhouse("cot", "filter", tmp_path, "--by", "any", "--grader", "answer:number", "--json").json["runs"]
    assert (run["kept"], run["put_aside"]) == (4, {"not passed by 'answer:number'": 1})
    ran = stillhouse("cot", "filter", tmp_path, "--grader", "rubric:accuracy")
    assert (ran.code, "--judge" in ran.err) == (2, True), ran.err


def test_input_is_never_overwritten(stillhouse: Stillhouse, tmp_path: Path) -> None:
    write_paper(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    ran = stillhouse("cot", "filter", tmp_path, "--out", tmp_path)
    assert (ran.code, "would overwrite" in ran.err) == (5, True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--rule", "strict"], "numeric, published"),
        (["--by", "luck"], "right, vote, any"),
        (["--choose", "best"], "first, random, different"),
        (["--embedder", "far-away", "-d", "2"], "--choose different"),
        (["--template", "ft_cot_token"], "--out"),
        (["--template", "zs_cot", "--out", "x"], "only asks"),
    ],
)
def test_words_that_no_option_knows(stillhouse: Stillhouse, tmp_path: Path, options: list[str], says: str) -> None:
    ran = stillhouse("cot", "filter", write_paper(tmp_path), *options)
    assert (ran.code, says in ran.err) == (2, True), ran.err


def test_a_folder_without_completions(stillhouse: Stillhouse, tmp_path: Path) -> None:
    ran = stillhouse("cot", "score", tmp_path, "--json")
    assert (ran.code, "completion_data" in ran.err) == (5, True)


def test_generated_tasks_are_prepared_and_explained_from_the_command_line(stillhouse: Stillhouse, tmp_path: Path) -> None:
    root = tmp_path / "paper"
    [coins, _] = stillhouse("cot", "prepare", "--to", root, "--count", "12", "--json").json["tasks"]
    assert (coins["dataset_key"], coins["questions"], coins["train"], coins["expected"]) == ("coin_flip", 12, 8, 500)
    assert stillhouse("cot", "prepare", "--to", root, "--count", "12", "--seed", "1").code == 5
    ran = stillhouse("cot", "generate", root, "--task", "coin_flip", "--model", "absent", "--to", root)
    assert (ran.code, "absent" in ran.err) == (5, True)


def test_a_version_there_and_back(stillhouse: Stillhouse, tmp_path: Path) -> None:
    root = write_paper(tmp_path / "paper")
    options = ["--by", "any", "--split", "all", "--task", "svamp", "--key", "zs_cot", "--model", "text-davinci-002"]
    made = stillhouse("cot", "import", root, "svamp", *options, "--json").json
    assert made["counts"] == {"train": 5, "valid": 0, "test": 0}
    assert stillhouse("cot", "import", root, "none", "--task", "gsm8k").code == 5
    stillhouse("cot", "export", "svamp", "--out", tmp_path / "out")
    path = "saved/completion_data/B_text-davinci-002__C_zs_cot/D_svamp.json"
    assert json.loads((tmp_path / "out" / path).read_bytes()) == json.loads((root / path).read_bytes())


def test_original_files_are_prepared(stillhouse: Stillhouse, tmp_path: Path) -> None:
    (tmp_path / "SVAMP.json").write_text('[{"Body": "a", "Question": "b?", "Answer": 2.0}]', encoding="utf-8")
    [task] = stillhouse("cot", "prepare", tmp_path, "--to", tmp_path / "out", "--json").json["tasks"]
    assert (task["dataset_key"], task["questions"]) == ("svamp", 1)
    assert stillhouse("cot", "prepare", tmp_path, "--to", tmp_path / "out", "--task", "aqua").code == 5
    assert stillhouse("cot", "prepare", tmp_path / "nowhere", "--to", tmp_path / "out").code == 5


def test_templates_are_shown(stillhouse: Stillhouse) -> None:
    shown = {each["name"]: each["target"] for each in stillhouse("cot", "templates", "--json").json}
    assert shown["ft_cot_token"] == " {reasoning_completion} --> {answer}"
    assert len(shown) == 7
    assert "ft_token" in stillhouse("cot", "templates", "--shape", "gpt3").out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--method", "tot"], "chat, plain, zs_cot"),
        (["--method", "fs_cot"], "--examples"),
        (["--asks", "me"], "paper or task"),
        (["--temperature", "hot"], "temperature"),
    ],
)
def test_ways_of_asking_that_are_none(stillhouse: Stillhouse, tmp_path: Path, options: list[str], says: str) -> None:
    ran = stillhouse("cot", "generate", tmp_path, "--model", "m", "--to", tmp_path, *options)
    assert (ran.code, says in ran.err) == (2, True), ran.err


def answered(root: Path, place: str, answers: list[list[str]], **metadata: object) -> None:
    """A completion file about coins 0, 1, ...: for each the answers it got."""
    path = root / "saved" / "completion_data" / place / "D_coin_flip.json"
    rows = {
        str(sample): [
            {
                "sample_index": sample,
                "completion_index": number,
                "question": f"coin {sample}?",
                "answer": "yes",
                "completion": said,
            }
            for number, said in enumerate(its)
        ]
        for sample, its in enumerate(answers)
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"metadata": {"dataset_key": "coin_flip", **metadata}, "data": rows}), encoding="utf-8")


def test_a_report_of_a_folder_of_runs(stillhouse: Stillhouse, tmp_path: Path) -> None:
    """Six coins, all yes; 0 to 2 are the train split. Teacher, student by two ways of decoding, answer-only, baselines."""
    root = tmp_path / "paper"
    data = [{"sample_index": n, "question": f"coin {n}?", "answer": "no" if n in (0, 5) else "yes"} for n in range(6)]
    for folder, name, content in (
        ("dataset", "coin_flip.json", {"metadata": {"dataset_key": "coin_flip"}, "data": data}),
        ("split", "coin_flip__default.json", {"train": [0, 1, 2], "test": [3, 4, 5]}),
    ):
        (root / "data" / folder).mkdir(parents=True)
        (root / "data" / folder / name).write_text(json.dumps(content), encoding="utf-8")
    answered(root, "B_big__C_zs_cot", [["no."]] * 3 + [["yes."], ["yes."], ["no."]], prediction_template="zs_cot")
    votes = ["a --> no", "b --> yes", "c --> yes"]
    taught = {"prediction_template": "ft_cot_token", "finetune_key": "zs_cot"}
    answered(root, "B_small__C_ft_cot_token", [votes] * 6, **taught)
    answered(root, "B_small__C_ft_token", [[" yes"]] * 6, prediction_template="ft_token", finetune_key="gold")
    lines = stillhouse("cot", "report", root, "--json").json["standings"]
    found = {(line["role"], line["decoding"]): (line["n"], round(line["accuracy"]["value"], 3)) for line in lines}
    assert found == {
        ("teacher", "greedy"): (3, 1.0),
        ("student", "one sample"): (3, 0.333),
        ("student", "majority of 3"): (3, 0.667),
        ("answer-only", "greedy"): (3, 0.667),
        ("majority", "greedy"): (3, 0.667),
        ("random", "greedy"): (3, 0.5),
    }
    assert "majority of 3" in stillhouse("cot", "report", root).out
    ran = stillhouse("cot", "report", root, "--svg", tmp_path / "plot.svg")
    assert (ran.code, "nothing to plot" in ran.err) == (2, True)


def test_a_report_of_measures_and_its_plot(stillhouse: Stillhouse, tmp_path: Path) -> None:
    rows = [{"task": "coin_flip", "role": "student", "n": 10, "correct": 5 + d % 5, "d": d, "cpu": 1.0} for d in (1, 2, 4)]
    measures, plot = tmp_path / "measures.jsonl", tmp_path / "plot.svg"
    measures.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = stillhouse("cot", "report", measures, "--svg", plot, "--json").json["standings"]
    assert [(line["role"], line["d"]) for line in lines] == [("student", 1), ("student", 2), ("student", 4), ("random", None)]
    assert plot.read_text(encoding="utf-8").startswith("<svg")
    measures.write_text('{"task": "coin_flip", "role": "student", "n": 0, "correct": 0}\n', encoding="utf-8")
    ran = stillhouse("cot", "report", measures)
    assert (ran.code != 0, "line 1 is no measure" in ran.err) == (True, True)
