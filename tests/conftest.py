"""What holds for every test: no address but this machine's, no hub, and no verdict that depends on how busy the machine is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import settings

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
