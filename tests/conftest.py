"""What holds for every test: no address but this machine's, no hub, and no verdict that depends on how busy the machine is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import settings

from tests.fakes.forking import fork_server

os.environ["HF_HUB_OFFLINE"] = "1"
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # inherited by servers and workers: with two tests at once more threads only wait for each other
for name in [name for name in os.environ if name.startswith("STILLHOUSE_") or name == "OPENAI_API_KEY"]:
    del os.environ[name]

settings.register_profile("stillhouse", deadline=None)
settings.load_profile("stillhouse")

_connect = socket.socket.connect


def _loopback_only(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6):
        host = str(address[0])
        if host != "localhost" and not ip_address(host).is_loopback:
            raise AssertionError(f"a test tried to reach {host}; tests use no network but loopback")
    _connect(self, address)


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _loopback_only)
        yield


@pytest.fixture(scope="session")
def fork_environ(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Started by the first test whose module wants it."""
    with fork_server(tmp_path_factory.mktemp("forking")) as environ:
        yield environ


@pytest.fixture(scope="module")
def forked_workers(fork_environ: dict[str, str]) -> Iterator[None]:
    """Workers of this module's runs, and of the servers it starts, are forked rather than started: `tests/fakes/forking.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(fork_environ["PYTHONPATH"].partition(os.pathsep)[0])
        for name, value in fork_environ.items():
            patch.setenv(name, value)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests first: when one of the two workers has nothing left, what the other is at is short."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
