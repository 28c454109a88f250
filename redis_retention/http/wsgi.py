"""The application as a Flask blueprint."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from http import HTTPStatus
from io import BytesIO
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

from a2wsgi import ASGIMiddleware
from flask import Blueprint, Request, request
from flask.blueprints import BlueprintSetupState
from starlette.types import ASGIApp, Receive, Scope, Send
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response

from redis_retention.http.access import LARGEST_BODY
from redis_retention.http.paths import encoded_path
from redis_retention.http.problems import Problem

Environ: TypeAlias = "dict[str, Any]"

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_PATH = "<retention_path:path>"


class _AnyPath(BaseConverter):
    """What stands below a prefix, line breaks in an id among it."""

    part_isolating = False
    regex = "(?s:.+?)"
    weight = 200


def blueprint(make: Callable[[], ASGIApp], name: str, url_prefix: str) -> Blueprint:
    """A blueprint that lets an ASGI application answer.

    Args:
        make: Makes the application.
        name: What the blueprint is called.
        url_prefix: Below which path it answers.
    """
    made = Blueprint(name, __name__, url_prefix=url_prefix)
    application = _OfProcess(make)

    def answer(path: str = "") -> Response:  # noqa: ARG001
        try:
            environ = _environ(request)
        except Problem as problem:
            refused = problem.response()
            return Response(bytes(refused.body), refused.status_code, dict(refused.headers))
        return Response.from_app(application.get(), environ, buffered=True)

    def register(state: BlueprintSetupState) -> None:
        state.app.url_map.converters["retention_path"] = _AnyPath

    made.record(register)
    for rule in ("/", f"/{_PATH}"):
        made.add_url_rule(
            rule,
            endpoint="answer",
            view_func=answer,
            methods=_METHODS,
            # The slashes of an id are decoded by now: two of them are no slip.
            merge_slashes=False,
            provide_automatic_options=False,
        )
    return made


class _OfProcess:
    """An application under WSGI, made anew in each process: a fork does not take threads along."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    def get(self) -> Any:
        """The one of this process."""
        with self._lock:
            process = os.getpid()
            if self._made is None or self._made[0] != process:
                app: Any = _Decoding(self._make())
                self._made = process, ASGIMiddleware(app)
            return self._made[1]


class _Decoding:
    """Takes paths that are encoded, as `_environ` makes them, and says so to an application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, root = scope["path"], scope["root_path"]
        told = {"raw_path": path.encode("ascii"), "path": unquote(path), "root_path": unquote(root)}
        await self._app({**scope, **told}, receive, send)


def _environ(request: Request) -> Environ:
    """The environment of a request: its paths encoded, its body read.

    Raises:
        Problem: It has a body of which the server does not tell where it ends.
    """
    environ = dict(request.environ)
    chunked = environ.pop("HTTP_TRANSFER_ENCODING", None)
    if chunked is not None and not environ.get("wsgi.input_terminated"):
        raise Problem(
            HTTPStatus.LENGTH_REQUIRED, "send the header Content-Length: this server needs it"
        )
    if (request.content_length or 0) <= LARGEST_BODY:
        body = request.stream.read(LARGEST_BODY + 1)
        environ["wsgi.input"] = BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
    root = environ.get("SCRIPT_NAME", "")
    before = 0 if request.url_rule is None else request.url_rule.rule.partition(_PATH)[0].count("/")
    parts = _sent_path(environ).split("/")
    # The blueprint's prefix has as many segments as its rule, and no slash is encoded in it.
    below = root.count("/") + before
    environ["SCRIPT_NAME"] = "/".join(parts[:below])
    environ["PATH_INFO"] = "/" + "/".join(parts[below:])
    return environ


def _sent_path(environ: Environ) -> str:
    """The path of a request, encoded: as it was sent, where the server tells that."""
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    for name in ("RAW_URI", "REQUEST_URI"):
        sent: str = urlsplit(environ.get(name, "").partition("?")[0]).path
        # Something between may have changed it.
        if unquote(sent) == path.decode("utf-8", "replace"):
            return sent
    return encoded_path(path.decode("utf-8", "surrogateescape"))
