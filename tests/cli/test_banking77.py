"""A linear student on real data, from a CSV in one command: the issue's 91 %."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Stillhouse

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT.parent / "shared" / "data" / "banking77"


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/banking77")
def test_banking77_reaches_91_percent(stillhouse: Stillhouse) -> None:
    pytest.importorskip("sklearn", reason="needs the extra [classic]")
    files = ["--train", DATA / "train.csv", "--test", DATA / "test.csv"]
    ran = stillhouse("distill", ROOT / "recipes" / "linear.toml", *files, "--json")
    assert ran.code == 0, ran.err
    student = ran.json["report"]["results"][0]
    assert student["accuracy"]["exact"]["value"] >= 0.91
    assert ran.json["report"]["examples"] >= 3079
