from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.artifact import Artifact
from stillhouse.dataset import Example
from stillhouse.formats.examples import write_dataset_folder
from stillhouse.jobs.contamination import contamination_of, messages_of
from stillhouse.route import Route
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace, dataset_folder

WORDS = ["hen", "egg", "barn", "corn", "wind", "rain", "gate", "road", "cart", "mill", "pond", "duck", "goat", "hay", "bell"]
LEARNED = [" ".join(random.Random(number).choices(WORDS, k=25)) + "?" for number in range(40)]


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    settings = Settings(data_dir=tmp_path)
    examples = [Example(id=f"e{n}", messages=chat(text), answer="some") for n, text in enumerate(LEARNED)]
    made = write_dataset_folder(settings.datasets / "draft", examples, name="hens")
    (settings.datasets / "draft").rename(dataset_folder(settings, made.fingerprint))
    workspace = Workspace(settings)
    workspace.store.put_dataset(made).result()
    lineages = {"student-1": made.fingerprint, "student-2": "sha256:gone", "student-3": None}
    for name, dataset in lineages.items():
        artifact = Artifact(id=name, kind="linear", created=1, parameters=1, size_bytes=1, hashes={}, dataset=dataset)
        workspace.store.put_artifact(artifact).result()
    workspace.store.put_route(Route(alias="hens", model="student-1", created=1)).result()
    yield workspace
    workspace.close()


@pytest.mark.parametrize("model", ["student-1", "hens"])
def test_questions_that_were_learned_are_found_the_same_or_nearly(workspace: Workspace, model: str) -> None:
    same = LEARNED[3].upper().replace(" ", "  ")
    nearly = LEARNED[5] + "!"
    asked = [chat(same), chat(nearly), chat("What is the capital of the country with the most hens, and who counted them?")]
    found = contamination_of(workspace, model, asked)
    assert (found.checked, found.questions, found.training_rows) == (True, 3, 40)
    assert (found.found, found.equal) == (2, 1)
    assert found.pairs[0].similarity == 1.0 and found.pairs[0].other == "row:0"
    assert "2 of 3 questions" in found.words


def test_nothing_found_is_said(workspace: Workspace) -> None:
    found = contamination_of(workspace, "student-1", [chat("Something else altogether, about trains in winter?")])
    assert (found.checked, found.found, found.pairs) == (True, 0, ())


@pytest.mark.parametrize(
    ("model", "why"), [("student-2", "not here any more"), ("student-3", "not known"), ("gpt-4o", "not known")]
)
def test_what_cannot_be_known_is_not_called_clean(workspace: Workspace, model: str, why: str) -> None:
    found = contamination_of(workspace, model, [chat(LEARNED[0])])
    assert not found.checked and found.found == 0 and why in found.words


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ({"input": chat("a"), "x": "b"}, "a"),
        ({"question": "a", "answer": "b"}, "a"),
        ({"q": "a", "a": "b", "n": 3}, "a\nb"),
        ({"input": "a", "other": "b"}, "a"),
    ],
)
def test_what_an_item_asks(item: dict[str, object], text: str) -> None:
    assert messages_of(item) == chat(text)
