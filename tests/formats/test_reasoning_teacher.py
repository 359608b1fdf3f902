"""The paper's files: read and written back, byte for byte; names of folders and files; fine-tuning data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.errors import FormatError, NotFoundError, UsageError
from stillhouse.formats.reasoning_teacher.documents import Completions, Samples, read_json, write_json
from stillhouse.formats.reasoning_teacher.finetune_data import finetune_path, finetune_rows, read_finetune, write_finetune
from stillhouse.formats.reasoning_teacher.layout import Place, completion_files, dataset_file, read_split, write_split
from stillhouse.formats.reasoning_teacher.model_metadata import StudentKey, read_metadata, students_in, write_metadata
from stillhouse.formats.reasoning_teacher.splits import default_split, few_shot_subset
from stillhouse.reasoning import template_of
from tests.reasoning.papers import write, write_paper

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "reasoning"
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.dictionaries(st.sampled_from(["sample_index", "question", "answer", "completion", "x"]), VALUES, max_size=5)


@given(
    st.dictionaries(st.integers(0, 99).map(str), st.lists(ROWS, max_size=2), max_size=3),
    st.dictionaries(st.text(max_size=5), VALUES, max_size=2),
    st.sampled_from([None, 0, 1, 4]),
    st.booleans(),
    st.sampled_from(["", "\n"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_read_is_written_back_byte_for_byte(
    tmp_path: Path, data: dict[str, Any], more: dict[str, Any], indent: int | None, ascii_: bool, end: str
) -> None:
    content = {**more, "metadata": {"dataset_key": "gsm8k", **more}, "data": data}
    path, copy = tmp_path / "in.json", tmp_path / "out.json"
    try:
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=ascii_) + end, encoding="utf-8")
    except UnicodeEncodeError:
        path.write_text(json.dumps(content, indent=indent) + end, encoding="utf-8")
    Completions.read(path).write(copy)
    assert json.loads(copy.read_text(encoding="utf-8")) == content
    if data and (not ascii_ or path.read_bytes().isascii()):
        assert copy.read_bytes() == path.read_bytes()


@pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not here")
def test_the_real_files_come_back_byte_for_byte(tmp_path: Path) -> None:
    files = sorted(DATA.glob("*/*.json")) + sorted(DATA.glob("completion_data/*/*.json"))
    assert len(files) == 16
    for path in files:
        content, style = read_json(path)
        write_json(tmp_path / "copy.json", content, style)
        assert (tmp_path / "copy.json").read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (
            "B_text-davinci-002__C_zs_cot/D_gsm8k.json",
            Place(base_model="text-davinci-002", completion_key="zs_cot", dataset_key="gsm8k"),
        ),
        (
            "B_curie__C_ft_cot/F_zs_cot_multiarith__D_multiarith.json",
            Place(base_model="curie", completion_key="ft_cot", dataset_key="multiarith", finetune_key="zs_cot_multiarith"),
        ),
        (
            "B_curie__C_ft_cot/F_zs_cot_long_svamp__T_ft_cot__D_svamp.json",
            Place(
                base_model="curie",
                completion_key="ft_cot",
                dataset_key="svamp",
                finetune_key="zs_cot_long_svamp",
                train_key="ft_cot",
            ),
        ),
        (
            "B_gpt2__C_ft_cot/T_ft_cot__D_aqua__E_007.json",
            Place(base_model="gpt2", completion_key="ft_cot", dataset_key="aqua", train_key="ft_cot", epoch=7),
        ),
    ],
)
def test_a_path_says_what_a_file_is(path: str, place: Place) -> None:
    assert Place.of(Path("saved") / "completion_data" / path) == place
    assert place.path == Path(path)


def test_the_codes_order_of_tags_is_read_too() -> None:
    assert Place.of(Path("B_gpt2__C_ft_cot/D_aqua__T_ft_cot__E_007.json")).epoch == 7
    with pytest.raises(FormatError, match="B_<base model>"):
        Place.of(Path("curie/gsm8k.json"))


@pytest.mark.parametrize("bare", [True, False])
def test_both_layouts_are_found_from_wherever_one_points(tmp_path: Path, bare: bool) -> None:
    root = write_paper(tmp_path / "paper", bare=bare)
    files = list(completion_files(root))
    assert len(files) == 6
    assert list(completion_files(files[0].parent.parent)) == files
    assert list(completion_files(files[0].parent)) == files
    assert list(completion_files(files[0])) == files[:1]
    for place in (root, files[0].parent.parent, files[0].parent):
        assert dataset_file(place, "aqua") is not None
    assert dataset_file(root, "gsm8k") is None
    with pytest.raises(NotFoundError, match="completion_data"):
        list(completion_files(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"data": {}},
        {"data": [], "metadata": {"dataset_key": "aqua"}},
        {"data": {"0": 1}, "metadata": {"dataset_key": "aqua"}},
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: Any) -> None:
    write(tmp_path / "x.json", content)
    with pytest.raises(FormatError):
        Completions.read(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{", encoding="utf-8")
    with pytest.raises(FormatError, match="not a JSON file"):
        Samples.read(tmp_path / "x.json")


@pytest.mark.parametrize("split", ["default", "template"])
def test_splits(tmp_path: Path, split: str) -> None:
    indices = {"train": [0, 2], "test": [1]}
    path = write_split(tmp_path, "multiarith", indices, split)
    assert path == tmp_path / "data" / "split" / f"multiarith__{split}.json"
    assert read_split(tmp_path, "multiarith", split) == indices
    assert path.read_text(encoding="utf-8") == json.dumps(indices, indent=4)


@pytest.mark.parametrize("platform", ["openai", "decoder"])
def test_fine_tuning_data(tmp_path: Path, platform: str) -> None:
    samples = [{"sample_index": 3, "question": "a\nb?", "answer": "c", "reasoning_completion": "d"}]
    path = finetune_path(tmp_path, platform, "zs_cot_gsm8k")
    rows = finetune_rows(samples, template_of("ft_cot_token"))
    assert write_finetune(path, rows) == 1
    kept = {"openai": ("prompt", "completion"), "decoder": ("sample_index", "prompt", "completion")}[platform]
    assert read_finetune(path) == [{name: rows[0][name] for name in kept}]
    assert (
        path.relative_to(tmp_path).as_posix()
        == {
            "openai": "P_openai/F_zs_cot_gsm8k.jsonl",
            "decoder": "P_decoder/F_zs_cot_gsm8k.json",
        }[platform]
    )
    if platform == "openai":
        assert path.read_text(encoding="utf-8") == '{"prompt": "a\\nb? ###", "completion": " d --> c END"}\n'


def test_what_is_known_of_students(tmp_path: Path) -> None:
    keys = [StudentKey("curie", "zs_cot_multiarith"), StudentKey("gpt2", "zs_cot_gsm8k", "ft_cot")]
    for key in keys:
        write_metadata(tmp_path, key, {"id": key.base_model})
    assert (tmp_path / "saved" / "model_metadata" / "B_gpt2" / "F_zs_cot_gsm8k__T_ft_cot.json").is_file()
    assert list(students_in(tmp_path)) == keys
    assert read_metadata(tmp_path, keys[1]) == {"id": "gpt2"}
    assert list(students_in(tmp_path / "absent")) == []
    with pytest.raises(NotFoundError):
        read_metadata(tmp_path, StudentKey("curie", "absent"))


@pytest.mark.skipif(not DATA.is_dir(), reason="the real splits are not here")
def test_splits_are_drawn_as_the_papers_were() -> None:
    for path in sorted((DATA / "split").glob("*__default.json")):
        split = json.loads(path.read_bytes())
        assert default_split(path.name.partition("__")[0], sum(map(len, split.values()))) == split


def test_published_splits_and_parts_of_them() -> None:
    sizes = {"gsm8k": (7473, 1319), "commonsense_qa": (9741, 1221), "aqua": (10_000, 254)}
    for key, (train, test) in sizes.items():
        split = default_split(key, {"aqua": 97_721}.get(key, train + test))
        assert (len(split["train"]), len(split["test"])) == (train, test)
        assert set(split["train"]).isdisjoint(split["test"])
    few = few_shot_subset(split["train"], 32)
    assert set(few) <= set(split["train"])
    assert few == sorted(set(few)) and len(few) == 32
    with pytest.raises(UsageError, match="32 samples"):
        few_shot_subset([1], 32)
