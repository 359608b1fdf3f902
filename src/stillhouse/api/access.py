"""Who may call what: the policy of every route, as code, and the checks that stand before all of them.

The Host allow-list holds always (against DNS rebinding), and for methods that change something so does the cross-site check
(against other pages in the same browser). Keys: none is needed on a loopback address as long as none was ever made; otherwise
every route needs one. Only hashes are compared. There are no cookies and no CORS.
"""

from __future__ import annotations

import hmac
import ipaddress
from enum import Enum
from urllib.parse import urlsplit

from stillhouse.api.asgi import Scope
from stillhouse.errors import PermissionRefusedError
from stillhouse.keys import PREFIX, Key, hash_secret, well_formed
from stillhouse.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Policy(Enum):
    """What a route asks of its caller."""

    KEY = "a key, where keys are required"
    LINK = "a link that holds its own token, which its handler checks: pages that a browser opens, which can send no key"
    SERVER = "the token of this server, which lies beside its database: commands on the same machine"


class MissingKeyError(PermissionRefusedError):
    """No key, or not a valid one."""

    http_status = 401
    code = "invalid_api_key"


class ForbiddenHostError(PermissionRefusedError):
    """The Host header names no host of ours."""

    code = "forbidden_host"


class CrossSiteError(PermissionRefusedError):
    """Another site's page sent this."""

    code = "cross_site_request"


class Access:
    """The checks. `set_keys` whenever a key was made or revoked."""

    def __init__(self, settings: Settings, token: str | None = None) -> None:
        names = {"localhost", "127.0.0.1", "[::1]", settings.host, *settings.allowed_hosts}
        self._hosts = frozenset(name.lower() for name in names)
        self._open_bind = not is_loopback(settings.host)
        self._token = token
        self._hashes: frozenset[str] = frozenset()
        self._keys_exist = False

    def set_keys(self, keys: list[Key]) -> None:
        """A revoked key still counts as existing: revoking the last one must not open the door."""
        self._hashes = frozenset(key.hash for key in keys if key.revoked is None)
        self._keys_exist = bool(keys)

    def check_origin(self, scope: Scope) -> None:
        """Host and cross-site checks, before anything else. Raises PermissionRefusedError."""
        headers = {name: value for name, value in scope["headers"] if name in (b"host", b"origin", b"sec-fetch-site")}
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _without_port(host) not in self._hosts:
            raise ForbiddenHostError(
                f"This server does not answer for the host '{host}'. If it should, start it with: "
                f"STILLHOUSE_ALLOWED_HOSTS={_without_port(host) or 'NAME'} stillhouse serve"
            )
        if scope["method"] not in SAFE_METHODS and _cross_site(headers, host):
            raise CrossSiteError("Requests from the pages of other sites are refused.")

    def check(self, policy: Policy, scope: Scope) -> None:
        """Whether the caller may use a route. Raises MissingKeyError, PermissionRefusedError."""
        if policy is Policy.SERVER:
            if not self._token or not hmac.compare_digest(_bearer(scope).encode(), self._token.encode()):
                raise PermissionRefusedError("This route is for commands on the server's own machine.")
        elif policy is Policy.KEY and (self._keys_exist or self._open_bind):
            self._check_key(_bearer(scope))

    def _check_key(self, secret: str) -> None:
        if not secret:
            raise MissingKeyError("No API key was sent. Make one with: stillhouse key create NAME")
        if hash_secret(secret) in self._hashes:
            return
        if not well_formed(secret):  # told by its checksum alone, which says nothing of the keys there are
            raise MissingKeyError(
                f"The API key is mistyped, cut off, or no Stillhouse key: those begin with {PREFIX} and end in a checksum."
            )
        raise MissingKeyError("The API key is not known here, or was revoked. See the keys with: stillhouse key list")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _bearer(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            kind, _, secret = value.decode("latin-1").partition(" ")
            return str(secret.strip()) if kind.lower() == "bearer" else ""
    return ""


def _cross_site(headers: dict[bytes, bytes], host: str) -> bool:
    site = headers.get(b"sec-fetch-site")
    if site is not None:
        return site not in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    return origin is not None and urlsplit(origin.decode("latin-1")).netloc.lower() != host


def _without_port(host: str) -> str:
    if host.startswith("["):
        inside, bracket, _ = host.partition("]")
        return inside + bracket
    return host.partition(":")[0]
