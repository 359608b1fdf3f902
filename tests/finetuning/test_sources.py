"""A fine-tuning file says no ids: what its answers were captured with is found by what was asked and answered."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from stillhouse.curation import Options, build, collect_rows, save
from stillhouse.errors import RecipeError
from stillhouse.finetuning.sources import with_sources
from stillhouse.formats.base import Row
from stillhouse.jobs.signals import keep_captured
from stillhouse.settings import Settings
from stillhouse.workspace import Workspace
from tests.jobs.test_signals import add_upstream, capture, logprobs
from tests.students.tiny import write_tokenizer


def test_what_was_captured_teaches_the_rows_it_belongs_to(tmp_path: Path) -> None:
    workspace = Workspace(Settings(data_dir=tmp_path / "data"))
    add_upstream(workspace, write_tokenizer(tmp_path / "tokenizer"))
    for question, answer in (("one plus one?", "two"), ("a long way from home", "walk back")):
        capture(workspace, question, answer, logprobs(answer))
    said = [("one plus one?", "two"), ("a long way from home", "stay there")]
    rows = [Row(line=n, messages=[{"role": "user", "content": q}], answer=a) for n, (q, a) in enumerate(said, start=1)]
    collected = collect_rows(rows, file="file-1", split="train")
    found = with_sources(workspace, collected, {})
    captured, other = (str(example.source) for example in found.examples)
    assert captured.startswith("completion:") and not other.startswith("completion:")
    assert list(found.upstream_of) == [captured]
    options = Options(near_duplicates=None, near_leaks=None)
    dataset = save(build("captured", found, options), workspace.dataset_folder, workspace.store)
    assert keep_captured(workspace, dataset) == 1
    nothing = with_sources(workspace, collected, {"metadata": {"team": "nobody"}})
    assert not nothing.upstream_of
    with pytest.raises(RecipeError, match="completions"):
        with_sources(workspace, collected, {"metadata": 3})
    workspace.close()
