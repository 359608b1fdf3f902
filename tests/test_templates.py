from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.templates import Template, TemplateError, VariableError, fill, variables_of

SCOPE: dict[str, Any] = {
    "item": {
        "question": "2+2?",
        "n": 5,
        "ok": True,
        "none": None,
        "options": ["a", {"deep": "b"}],
        "key with space": "k",
        "a-b": "c",
    },
    "sample": {"output_text": "four", "output_json": {"total": 4.0, "退款": "是"}, "choices": [{"message": {"content": "four"}}]},
}


def render(text: str) -> str:
    return Template.parse(text).render(SCOPE)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("no variable", "no variable"),
        ("{{item.question}} = {{ sample.output_text }}!", "2+2? = four!"),
        ("{{item.n}} {{item.ok}} {{item.none}}", "5 true null"),
        ("{{item.options}}", '["a", {"deep": "b"}]'),
        ("{{item.options[0]}}{{item.options.0}}{{item.options[-1].deep}}", "aab"),
        ('{{item["key with space"]}}{{item["a-b"]}}{{item.a-b}}', "kcc"),
        ("{{sample.output_json.total}} {{sample.output_json.退款}}", "4.0 是"),
        ("{{sample.choices[0].message.content}}", "four"),
        ('{"a": {{item.n}}}', '{"a": 5}'),
        ('{{"a": 1}} {{}} {{ 1 + 1 }} { {item.n} }', '{{"a": 1}} {{}} {{ 1 + 1 }} { {item.n} }'),
    ],
)
def test_variables_are_filled_in_and_the_rest_is_left_alone(text: str, rendered: str) -> None:
    assert render(text) == rendered


@pytest.mark.parametrize(
    "text", ["{{user.name}}", "{{name}}", "{{item.}}", "{{item..a}}", "{{item[x]}}", "{{item.a()}}", "{{item.a", "{{ sample"]
)
def test_a_variable_that_is_none_is_found_by_parsing(text: str) -> None:
    with pytest.raises(TemplateError):
        Template.parse(text)


@pytest.mark.parametrize(
    "path", ["item.nothing", "item.options[7]", "item.options.x", "item.n.x", "item.question.0", "sample.output_json.none.x"]
)
def test_a_variable_that_a_row_lacks_is_an_error_that_names_it(path: str) -> None:
    with pytest.raises(VariableError, match="there is no") as raised:
        render(f"{{{{{path}}}}}")
    assert raised.value.variable.written == path


def test_whole_values_are_filled() -> None:
    value = [{"role": "user", "content": [{"type": "text", "text": "{{item.n}}"}]}, 7, None]
    assert fill(value, SCOPE) == [{"role": "user", "content": [{"type": "text", "text": "5"}]}, 7, None]
    assert [variable.written for variable in variables_of(value)] == ["item.n"]


@given(answer=st.text(alphabet="{}item.sample output_text[]0 a"), other=st.text())
def test_what_a_variable_holds_is_never_looked_at_again(answer: str, other: str) -> None:
    scope = {"item": {"other": other}, "sample": {"output_text": answer}}
    assert Template.parse("<{{sample.output_text}}|{{item.other}}>").render(scope) == f"<{answer}|{other}>"


@given(st.text(alphabet='{}item.sample[]"0 a-'))
def test_any_text_is_a_template_or_an_error(text: str) -> None:
    try:
        template = Template.parse(text)
    except TemplateError:
        return
    if not template.variables:
        assert template.render({}) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON)
def test_values_that_are_no_text_stand_as_json(value: Any) -> None:
    rendered = Template.parse("{{item.x}}").render({"item": {"x": value}})
    assert rendered == value if isinstance(value, str) else json.loads(rendered) == value
