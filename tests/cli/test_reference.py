"""docs/cli.md has a heading for every verb, and every verb speaks JSON."""

from __future__ import annotations

from typing import Any

import pytest

from cli_reference import DOCUMENT, document, heading, verbs

VERBS = dict(verbs())
NOT_YET = {"import openai", "import langfuse", "import litellm", "import promptfoo"}
"""Verbs that only say what to do today."""


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_in_the_reference(name: str) -> None:
    headings = DOCUMENT.read_text(encoding="utf-8").splitlines()
    assert heading(name) in headings, f"docs/cli.md lacks '{name}': run python scripts/cli_reference.py"


def test_the_reference_is_what_the_commands_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "docs/cli.md is old: run python scripts/cli_reference.py"


@pytest.mark.parametrize("name", sorted(VERBS.keys() - NOT_YET))
def test_a_verb_has_help_and_json(name: str) -> None:
    command: Any = VERBS[name]
    assert command.help, f"{name} has no docstring"
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options, f"{name} has no --json"


def test_the_table_has_every_noun_of_the_design() -> None:
    named = {name for name in VERBS if " " not in name}
    assert named == {"serve", "demo", "doctor", "distill"}
    for verb in ("import openai", "train resume", "eval failures", "route rollback", "models export", "completions purge"):
        assert verb in VERBS
