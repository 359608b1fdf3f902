"""Where a webhook may go: public addresses, and hosts that the settings name."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from stillhouse.webhooks.posting import ForbiddenAddressError, Poster, PublicResolver

EVIL = [
    "https://127.0.0.1/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0177.0.0.1/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a9fe:a9fe::]/",
    "http://example.com/",
    "http://127.0.0.1/",
]


@pytest.mark.parametrize("url", EVIL)
def test_what_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        Poster().check(url)


@pytest.mark.parametrize("url", ["https://example.com/hook", "https://1.1.1.1/", "https://[2606:4700:4700::1111]/"])
def test_public_addresses_pass(url: str) -> None:
    Poster().check(url)


async def test_a_name_is_judged_by_what_it_stands_for_when_the_connection_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[list[str]] = [["93.184.215.14"], ["93.184.215.14", "127.0.0.1"], ["169.254.169.254"]]

    class Fickle:
        async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[dict[str, Any]]:
            return [{"host": address, "port": port} for address in answers.pop(0)]

    resolver = PublicResolver(frozenset())
    monkeypatch.setattr(resolver, "_inner", Fickle())
    assert len(await resolver.resolve("rebinding.example", 443)) == 1
    for _ in range(2):
        with pytest.raises(ForbiddenAddressError):
            await resolver.resolve("rebinding.example", 443)


async def test_a_host_of_ones_own_is_allowed_by_name() -> None:
    Poster(("LOCALHOST",)).check("http://localhost:9/x")
    resolver = PublicResolver(frozenset({"localhost"}))
    assert await resolver.resolve("localhost", 9)
    await resolver.close()


async def test_nobody_listening_is_an_error_not_a_hang() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        poster = Poster(("127.0.0.1",))
        with pytest.raises(OSError, match="Connect"):
            await poster.post(f"http://127.0.0.1:{taken.getsockname()[1]}/", b"{}", {})
        await poster.close()
