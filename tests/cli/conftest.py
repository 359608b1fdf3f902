"""Commands run in this process, against a data folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest

from stillhouse.cli.main import main


class Ran(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout, which must be one JSON document and nothing else."""
        return orjson.loads(self.out)


Stillhouse = Callable[..., Ran]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def stillhouse(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> Stillhouse:
    """`stillhouse("train", "list", "--json")`."""

    def run(*arguments: str | Path) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(["--data-dir", str(data_dir), *map(str, arguments)])
        captured = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, captured.out, captured.err)

    return run
