"""Tables of kinds: listed without importing, resolved on use, a missing extra in one voice."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stillhouse import registry
from stillhouse.errors import MissingExtraError, UsageError
from stillhouse.registry import Table


def test_names_are_listed_without_importing() -> None:
    code = (
        "import sys; from stillhouse.registry import Table\n"
        "print(Table('toy', 'toys', {'a': 'stillhouse.recipe:Recipe'}).names(), 'stillhouse.recipe' in sys.modules)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "['a'] False"


def test_a_kind_is_resolved() -> None:
    assert Table("toy", "toys", {"text": "stillhouse.chat:DONE"}).resolve("text") == b"[DONE]"


def test_an_unknown_kind_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="no toy 'x'. There are: a, b"):
        Table("toy", "toys", {"b": "m:b", "a": "m:a"}).resolve("x")


def test_a_missing_extra_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.EXTRA_OF, "not_installed_here", "classic")
    with pytest.raises(MissingExtraError, match=r"The toy 'forest' needs 'not_installed_here'.*stillhouse\[classic\]"):
        Table("toy", "toys", {"forest": "not_installed_here.ensemble:Forest"}).resolve("forest")


def test_a_broken_import_is_not_called_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        Table("toy", "toys", {"x": "nowhere.at_all:x"}).resolve("x")
