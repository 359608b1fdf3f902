"""Names become models, graders and folders, or an error that says what there is; a name never becomes a path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.artifacts import verify
from stillhouse.errors import NotFoundError, UsageError
from stillhouse.route import Route
from stillhouse.settings import Settings
from stillhouse.shipped import builtin_folder
from stillhouse.stores.lock import DatabaseLock
from stillhouse.upstream import Upstream
from stillhouse.workspace import Workspace, kind_of_model
from tests.test_weights import write_safetensors


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    yield workspace
    workspace.close()


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    write_safetensors(folder / "model.safetensors", {"weights": [2, 3]})
    (folder / "config.json").write_text("{}")
    return folder


def test_a_plain_folder_is_added_once_under_an_id_of_its_content(workspace: Workspace, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    added = workspace.add_model(folder)
    assert (added.kind, added.parameters, added.name) == ("causal", 6, "mine")
    assert verify(workspace.artifact_folder(added.id)) == added
    assert workspace.add_model(folder) == added
    (folder / "config.json").write_text('{"other": 1}')
    assert workspace.add_model(folder).id != added.id
    assert len(workspace.store.artifacts()) == 2


def test_a_model_copied_before_a_crash_is_entered_by_the_next_try(workspace: Workspace, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    added = workspace.add_model(folder)
    workspace.close()
    workspace.settings.database.unlink()
    assert workspace.add_model(folder) == added
    assert workspace.artifact(added.id) == added


def test_a_folder_that_could_run_code_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "mine")
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UsageError, match=r"pytorch_model\.bin"):
        workspace.add_model(folder)


@pytest.mark.parametrize("name", ["nosuch", "", "../..", "/", "builtin:nosuch", "builtin:..", "builtin:"])
def test_a_name_that_is_none_is_not_found(workspace: Workspace, name: str) -> None:
    with pytest.raises(NotFoundError):
        workspace.artifact_folder(name)


def test_what_there_is_is_named(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="There are:"):
        builtin_folder("nosuch")
    with pytest.raises(UsageError, match="exact"):
        workspace.grader("nosuch")
    with pytest.raises(NotFoundError, match="dataset list"):
        workspace.dataset("nosuch")
    with pytest.raises(NotFoundError, match="upstream add"):
        workspace.target("nosuch")


def test_an_alias_and_an_upstream_s_model_are_resolved_with_their_terms(workspace: Workspace) -> None:
    store = workspace.store
    store.put_upstream(Upstream(name="lab", base_url="http://127.0.0.1:9/v1", models=("big",), may_train="no: 2c")).result()
    store.put_route(Route(alias="my-task", model="big", created=1)).result()
    for name in ("big", "my-task"):
        target = workspace.target(name)
        assert (target.name, target.upstream, target.may_train) == ("big", "lab", "no: 2c")
    assert workspace.grader("exact").name == "exact"


def test_a_shared_workspace_leaves_the_lock_to_others_between_writes(workspace: Workspace) -> None:
    workspace.share()
    workspace.store.put_route(Route(alias="a", model="m", created=1)).result()
    lock = DatabaseLock(workspace.settings.data_dir)
    assert lock.acquire_within(10)
    lock.release()


def test_closing_twice_and_opening_again_is_fine(workspace: Workspace) -> None:
    workspace.store.put_route(Route(alias="a", model="m", created=1)).result()
    workspace.close()
    workspace.close()
    assert [route.alias for route in workspace.store.routes()] == ["a"]


def test_a_model_in_an_installed_package_is_found_without_importing_it(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "brings_a_model" / "weights"
    model.mkdir(parents=True)
    (model.parent / "__init__.py").write_text("raise AssertionError('imported')")
    (model / "config.json").write_text('{"architectures": ["BertModel"]}')
    (model / "model.safetensors").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert workspace.model_folder("package:brings_a_model") == model
    assert kind_of_model(model) == "encoder"


@pytest.mark.parametrize("name", ["nosuch_package", "json", "../..", ""])
def test_a_package_without_a_model_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(NotFoundError, match="package"):
        workspace.model_folder(f"package:{name}")


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("LlamaForCausalLM", "causal"),
        ("GPT2LMHeadModel", "causal"),
        ("T5ForConditionalGeneration", "seq2seq"),
        ("BertModel", "encoder"),
        ("BertForSequenceClassification", "encoder"),
    ],
)
def test_the_kind_of_a_foreign_model_is_told_by_its_architecture(tmp_path: Path, architecture: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"architectures": ["{architecture}"]}}')
    assert kind_of_model(tmp_path) == kind
    (tmp_path / "config.json").unlink()
    assert kind_of_model(tmp_path) == "causal"


@pytest.mark.parametrize(("architecture", "kind"), [("T5WithLMHeadModel", "seq2seq"), ("T5ForSequenceClassification", "encoder")])
def test_an_encoder_decoder_says_so_whatever_its_name(tmp_path: Path, architecture: str, kind: str) -> None:
    (tmp_path / "config.json").write_text(f'{{"architectures": ["{architecture}"], "is_encoder_decoder": true}}')
    assert kind_of_model(tmp_path) == kind
