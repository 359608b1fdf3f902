"""One POST to a foreign address: signed, bounded, never followed elsewhere, never to a machine that is not public.

A URL that a client of the API names is not trusted: it could be the cloud's metadata service, or a database next door. The
addresses that a name stands for are checked as the connection is made, so a name that changes its mind gets nowhere either.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from stillhouse.errors import UsageError

SECONDS = 5.0
"""For one delivery, connecting included."""


class ForbiddenAddressError(UsageError):
    """A webhook's host is not public, and not among those that the settings allow."""

    code = "forbidden_address"


class Poster:
    """Posts bodies. `allowed`: names of hosts that may lie anywhere, for receivers on one's own network."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed)
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str) -> None:
        """What can be said of a URL without resolving its name. Raises ForbiddenAddressError."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if host in self._allowed:
            return
        if parts.scheme != "https":
            raise ForbiddenAddressError(f"A webhook needs https://. For a host of your own: STILLHOUSE_WEBHOOK_HOSTS={host}")
        if _is_literal(host) and not _is_public(host):
            raise _forbidden(host)

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """The status it was answered with; the answer itself is not read.

        Raises ForbiddenAddressError, and OSError or TimeoutError where no answer came.
        """
        self.check(url)
        async with asyncio.timeout(SECONDS):
            try:
                sent = {**headers, "content-type": "application/json", "user-agent": "stillhouse"}
                async with self._pool().post(url, data=body, headers=sent, allow_redirects=False) as response:
                    return response.status
            except aiohttp.ClientError as exc:
                if isinstance(exc.__cause__, ForbiddenAddressError):
                    raise exc.__cause__ from exc
                raise OSError(f"{type(exc).__name__}: {exc}") from exc

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=PublicResolver(self._allowed), use_dns_cache=False, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those that stand for an address that is not public."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = allowed
        self._inner = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if host.lower() not in self._allowed and not all(_is_public(each["host"]) for each in found):
            raise _forbidden(host)
        return found

    async def close(self) -> None:
        await self._inner.close()


def _forbidden(host: str) -> ForbiddenAddressError:
    return ForbiddenAddressError(
        f"'{host[:80]}' is no public address, so nothing is sent there. If it should be: STILLHOUSE_WEBHOOK_HOSTS={host[:80]}"
    )


def _is_literal(host: str) -> bool:
    """An address, in whatever notation a connection would take it (octal, hexadecimal, one number), rather than a name."""
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        pass
    try:
        socket.inet_aton(host)
        return True
    except OSError:
        return False


def _is_public(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        try:
            parsed = ipaddress.ip_address(socket.inet_aton(address))
        except OSError:
            return False
    inside = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    return parsed.is_global and not parsed.is_multicast and (inside is None or inside.is_global)
