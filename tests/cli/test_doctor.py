"""`doctor` says what is wrong, and exits with 1 only then."""

from __future__ import annotations

from pathlib import Path

from stillhouse.settings import Settings
from stillhouse.stores.opening import open_store
from stillhouse.upstream import Upstream
from tests.cli.conftest import Stillhouse


def verdicts(found: list[dict[str, str]]) -> dict[str, str]:
    return {finding["check"]: finding["verdict"] for finding in found}


def test_a_fresh_folder_is_fine_and_stays_untouched(stillhouse: Stillhouse, data_dir: Path) -> None:
    ran = stillhouse("doctor", "--json")
    assert ran.code == 0
    assert verdicts(ran.json)["database"] == "ok"
    assert not data_dir.exists()


def test_a_sound_database_is_ok_and_a_broken_one_a_problem(stillhouse: Stillhouse, data_dir: Path) -> None:
    open_store(Settings(data_dir=data_dir)).close()
    assert verdicts(stillhouse("doctor", "--json").json)["database"] == "ok"
    (data_dir / "stillhouse.db").write_bytes(b"this is no database" * 1000)
    ran = stillhouse("doctor", "--json")
    assert (ran.code, verdicts(ran.json)["database"]) == (1, "problem")


def test_an_upstream_is_asked_only_when_told_to(stillhouse: Stillhouse, data_dir: Path) -> None:
    store = open_store(Settings(data_dir=data_dir))
    store.put_upstream(Upstream(name="gone", base_url="http://127.0.0.1:9/v1")).result()
    store.close()
    assert stillhouse("doctor").code == 0
    ran = stillhouse("doctor", "--upstreams", "--json")
    assert (ran.code, verdicts(ran.json)["upstream gone"]) == (1, "problem")
