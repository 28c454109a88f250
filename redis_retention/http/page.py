"""The page: one file, with its scripts and styles in it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from redis_retention.operations.plan import REASONS

_FILE = files("redis_retention.http") / "page.html"
_INLINE = re.compile(r"<(script|style)[^>]*>(.*?)</\1>", re.DOTALL)

_NO_REASONS = '<script type="application/json" id="reasons">{}</script>'


def routes() -> list[Route]:
    """The route of the page, if there is one in this package."""
    if not _FILE.is_file():
        return []
    html = filled(_FILE.read_text(encoding="utf-8"))
    headers = {"Content-Security-Policy": policy_of(html)}

    async def page(_: Request) -> Response:
        return HTMLResponse(html, headers=headers)

    return [Route("/", page)]


def filled(html: str) -> str:
    """The page with the meanings of the reasons in it."""
    return html.replace(_NO_REASONS, _NO_REASONS.replace("{}", json.dumps(REASONS)))


def policy_of(html: str) -> str:
    """A policy by which a page runs its own scripts and styles, asks its own server, no more."""
    allowed: dict[str, list[str]] = {"script": ["'none'"], "style": ["'none'"]}
    for kind in allowed:
        found = [text for name, text in _INLINE.findall(html) if name == kind]
        if found:
            allowed[kind] = [_hash(text) for text in found]
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(allowed['script'])}",
            f"style-src {' '.join(allowed['style'])}",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
