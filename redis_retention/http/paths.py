"""Paths byte for byte: servers decode ``%2F`` to a slash, and what is no UTF-8 to U+FFFD.

Routes are matched by a path whose segments are still percent-encoded, each in one way only, so that
an id is one segment whatever is in it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

from starlette.types import Scope


def encoded(name: bytes) -> str:
    """A name as one segment of a path, which none takes for the way to another."""
    segment = quote_from_bytes(name, safe="")
    return segment.replace(".", "%2E") if name in (b".", b"..") else segment


def decoded(segment: str) -> bytes:
    """The name that a segment of a path stands for."""
    return unquote_to_bytes(segment)


def exact(scope: Scope) -> dict[str, Any]:
    """The scope of a request with its path, and that of the application, encoded.

    The path as it was sent is taken where the server tells it, and nothing between has changed it.
    """
    path, root = scope["path"], scope.get("root_path", "")
    raw = scope.get("raw_path")
    sent = None if raw is None else raw.partition(b"?")[0].decode("latin-1")
    # Some frameworks strip the path of what they mount by, others do not.
    if sent is None or unquote(sent) not in (path, root + path):
        sent = encoded_path(path)
    return {**scope, "path": _normal(sent), "root_path": _normal(encoded_path(root))}


def encoded_path(path: str) -> str:
    """A decoded path, encoded, with its slashes."""
    return quote_from_bytes(path.encode("utf-8", "surrogateescape"), safe="/")


def _normal(path: str) -> str:
    return "/".join(encoded(unquote_to_bytes(segment)) for segment in path.split("/"))
