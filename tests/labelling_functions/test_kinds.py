"""What is special to each kind; and hostile code and patterns, which end."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillhouse.errors import NotFoundError, UsageError
from stillhouse.labelling_functions.reading import read_functions
from tests.labelling_functions.cases import LABELS, function

ATTACK = """
import os
def label(text):
    if text == "hang":
        while True:
            pass
    if text == "die":
        os._exit(0)
    if text == "read":
        return open("/etc/passwd").read()[:20]
    if text == "call":
        import socket
        socket.create_connection(("127.0.0.1", 80))
    if text == "fork":
        os.fork()
    if text == "lie":
        return "no label at all"
    if text == "number":
        return 3
    if text == "long":
        return "x" * 100_000
    return "late" if text == "late" else None
"""


async def test_code_that_hangs_and_attacks_is_confined_and_the_other_texts_keep_their_labels() -> None:
    texts = ["late", "read", "call", "fork", "lie", "number", "long", "late", "hang", "late", "die", "other", "late"]
    found = dict(enumerate(await function("python", limit=4.0, source=ATTACK).say(texts)))
    assert [index for index, verdict in found.items() if verdict.label == "late"] == [0, 7, 9, 12]
    problems = {texts[index]: verdict.problem for index, verdict in found.items() if verdict.problem}
    assert sorted(problems) == ["call", "die", "fork", "hang", "lie", "long", "number", "read"]
    assert "longer than 4 seconds" in problems["hang"]
    assert problems["die"].startswith("its process ended")
    assert problems["lie"] == "it said 'no label at all', which is no label"


async def test_code_that_always_hangs_is_given_up() -> None:
    found = await function("python", limit=0.5, source="def label(text):\n    while True: pass\n").say(["a"] * 200)
    assert {verdict.label for verdict in found} == {None}
    assert [verdict.problem for verdict in found[3:]] == ["not asked any more: it took longer than 0.5 seconds"] * 197


async def test_code_that_does_not_begin_is_said_to_be_wrong() -> None:
    for source, said in (
        ("label = 1 / 0", "ZeroDivisionError"),
        ("label = 3", "no function 'label'"),
        ("def label(:", "SyntaxError"),
    ):
        with pytest.raises(UsageError, match=said):
            await function("python", source=source).say(["a"])


async def test_a_pattern_without_an_end_costs_its_time_and_no_more() -> None:
    hostile = function("regex", pattern=r"(a|aa|b?)*c(?!\w)$|late", seconds=0.05)
    found = await hostile.say(["a" * 5000 + "!", "late", *["a" * 5000 + "!"] * 20])
    assert found[1].label == "late"
    assert "longer than 0.05 seconds" in found[0].problem
    assert found[-1].problem.startswith("not tried any more")


async def test_keywords_are_whole_words_and_can_be_excluded() -> None:
    made = function("keyword", any=["c++", "not working"], all=["my"], none=["joke"])
    said = await made.say(["my C++ fails", "it is not  working, my lamp", "my not workings", "my c++, a joke", "c++"])
    assert [verdict.label for verdict in said] == ["late", "late", None, None, None]


def test_a_file_of_functions(tmp_path: Path) -> None:
    (tmp_path / "rules.py").write_text("def label(text):\n    return 'late'\n")
    path = tmp_path / "f.toml"
    path.write_text(
        '[[function]]\ntype = "keyword"\nname = "words"\nlabel = "late"\nany = ["late"]\n'
        '[[function]]\ntype = "python"\nname = "code"\nfile = "rules.py"\nweight = 0.5\n'
    )
    from stillhouse.sandbox import Sandbox

    assert [(made.name, made.weight) for made in read_functions(path, LABELS, Sandbox())] == [("words", 1.0), ("code", 0.5)]
    with pytest.raises(UsageError, match="switched off"):
        read_functions(path, LABELS, None)
    with pytest.raises(NotFoundError):
        read_functions(tmp_path / "absent.toml", LABELS, None)
    wrong = {
        "x = 1": "nothing else; got x",
        "[[function]]\ntype = 'magic'": "no kind of labelling function 'magic'",
        "[[function]]\ntype = 'regex'\nname = 'r'\nlabel = 'late'\npattern = '('": "the pattern is none",
        "[[function]]\ntype = 'keyword'\nname = 'k'\nlabel = 'late'": "needs `any` or `all`",
        "[[function": "no TOML file",
    }
    for text, said in wrong.items():
        path.write_text(text)
        with pytest.raises(UsageError, match=said):
            read_functions(path, LABELS, None)
    path.write_text("[[function]]\ntype = 'regex'\nname = 'r'\nlabel = 'late'\npattern = 'x'\n" * 2)
    with pytest.raises(UsageError, match="two functions are called 'r'"):
        read_functions(path, LABELS, None)
