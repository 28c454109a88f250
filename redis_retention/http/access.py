"""Who may do what: checked before anything else is done with a request."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redis_retention.http.paths import exact
from redis_retention.http.problems import Problem

LARGEST_BODY = 64 * 1024
"""Bytes that the body of a request may have."""

MOST_UNDER_WAY = 100
"""Requests that are worked on at a time."""

PROBES = ("/healthz", "/readyz")
# The page shows nothing by itself: it asks for the token, and sends it along.
_OPEN = ("/", *PROBES)
_READING = ("GET", "OPTIONS")
_PORTS = {"http": 80, "https": 443}

_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
_NO_CONTENT = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked of those who call.

    Attributes:
        token: What they have to know; None for nothing.
        read_only: Nobody may change anything.
        hosts: The names by which they may call, without ports; None for any. Where no token is
            asked for, this keeps the pages of others from calling by a name of theirs that leads
            here.
    """

    token: str | None = None
    read_only: bool = False
    hosts: frozenset[str] | None = None


class Gate:
    """Lets through what may pass, with a body that is bounded and a path that is exact.

    Args:
        app: What answers then.
        access: What is asked of those who call.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = exact(scope)
        # HEAD is GET without a body, whatever is asked for.
        without_body = scope["method"] == "HEAD"
        if without_body:
            scope["method"] = "GET"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": _guarded(message["headers"])}
            elif without_body:
                message = {**message, "body": b""}
            await send(message)

        if scope["path"] == scope["root_path"]:
            # The links of the page are relative to its folder.
            await RedirectResponse(f"{scope['path']}/")(scope, receive, send_guarded)
            return
        self._under_way += 1
        try:
            self._check(scope)
            receive = await _bounded(scope, receive)
            await self._app(scope, receive, send_guarded)
        except Problem as problem:
            await problem.response()(scope, receive, send_guarded)
        finally:
            self._under_way -= 1

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        path = scope["path"].removeprefix(scope["root_path"]) or "/"
        if path not in PROBES:
            self._check_room()
            self._check_host(headers)
        if path not in _OPEN:
            self._check_token(headers)
        if scope["method"] not in _READING:
            self._check_write(headers)

    def _check_room(self) -> None:
        if self._under_way > MOST_UNDER_WAY:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "too many requests are under way: try again in a moment",
                {"Retry-After": "1"},
            )

    def _check_host(self, headers: Headers) -> None:
        hosts = self._access.hosts
        if hosts is None or _name(headers.get("host", "")) in hosts:
            return
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "this service is not called by that name: use one of "
            f"{', '.join(sorted(hosts))}, or allow it with --allow-host",
        )

    def _check_token(self, headers: Headers) -> None:
        token = self._access.token
        if token is None:
            return
        kind, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())
        if kind.lower() != "bearer" or not right:
            raise Problem(
                HTTPStatus.UNAUTHORIZED,
                "send the token of this service, as in `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": 'Bearer realm="redis-retention"'},
            )

    def _check_write(self, headers: Headers) -> None:
        if self._access.read_only:
            raise Problem(
                HTTPStatus.FORBIDDEN, "this service is read-only: it was started with --read-only"
            )
        if _is_foreign(headers):
            raise Problem(
                HTTPStatus.FORBIDDEN,
                "the page of another site may change nothing here; behind a proxy, let it pass "
                "the header Host on",
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and (kind or _has_body(headers)):
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                "send JSON, with the header `Content-Type: application/json`",
            )


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser sends it for a page that is not from here."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    # A proxy may have spoken TLS: the scheme is the browser's, the name is what it has asked for.
    scheme = origin.partition(":")[0]
    home = _address(f"{scheme}://{headers.get('host', '')}")
    return home is None or _address(origin) != home


def _address(origin: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return None if parts.hostname is None or port is None else (parts.hostname, port)


def _name(host: str) -> str:
    """The name in a header ``Host``."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


async def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Read the body, as long as it is not too long, for whoever asks for it then.

    Raises:
        Problem: It is too long.
    """
    too_long = Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {LARGEST_BODY:,} bytes"
    )
    told = Headers(scope=scope).get("content-length", "0")
    if told.isdigit() and int(told) > LARGEST_BODY:
        raise too_long
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > LARGEST_BODY:
            raise too_long
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_read() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_read


def _guarded(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that tell browsers what not to do."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return given + [one for one in (*_HEADERS, _NO_CONTENT) if one[0] not in names]
