"""The HTTP API as an application: to be served by itself, or mounted into another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from redis.exceptions import RedisClusterException, RedisError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Match
from starlette.types import ASGIApp

from redis_retention import __version__
from redis_retention.activity import Activity
from redis_retention.errors import RetentionError
from redis_retention.http import page, probes, reading, writing
from redis_retention.http.access import PROBES, Access, Gate
from redis_retention.http.backend import Backend
from redis_retention.http.context import Context
from redis_retention.http.history import History
from redis_retention.http.jobs import Jobs
from redis_retention.http.observed import Alone, Observed
from redis_retention.http.problems import Problem, ProblemDocument, documented, problem_of
from redis_retention.logs import logger
from redis_retention.policy import InvalidPolicy
from redis_retention.stopping import Stopped

log = logger("http")

_DESCRIPTION = """Keeps LangGraph's checkpoints in Redis from growing without end.

Bodies are those of the command line's `--json`. Thread ids in paths are percent-encoded byte for
byte, slashes too. Errors are problem documents (RFC 9457)."""

# What a status means here, where the framework has no more to say than its name.
_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing here: /openapi.json lists what there is",
    HTTPStatus.METHOD_NOT_ALLOWED: "this can be done by another method only: see the header Allow",
    HTTPStatus.BAD_REQUEST: "the request cannot be read",
}

_FAILURES = (Stopped, RetentionError, InvalidPolicy, RedisError, RedisClusterException, OSError)

_NOT_FINE: dict[int | str, dict[str, Any]] = {
    503: {"description": "No.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


def application(
    backend: Backend,
    access: Access | None = None,
    observed: Observed | None = None,
    history: History | None = None,
) -> ASGIApp:
    """The application.

    Args:
        backend: The retention that it works with.
        access: What is asked of those who call.
        observed: The process that `/metrics` and the like speak of, if that does more than
            answer requests.
        history: What is remembered of how much there was; by default from now on.
    """
    access = access or Access()
    observed = observed or Alone(backend)
    jobs = Jobs(backend, observed.activity)
    history = history or History(backend)
    observed.activity.watch = history.note
    context = Context(backend, jobs, observed, access.read_only, history)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(history.follow())
        try:
            yield
        finally:
            following.cancel()
            await jobs.close()

    app = FastAPI(
        title="redis-retention",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        exception_handlers=_handlers(backend.server, observed.activity),
    )
    app.state.context = context
    for router in (reading.router, writing.router):
        app.include_router(router)
    for path, endpoint in probes.endpoints(observed).items():
        failing = _NOT_FINE if path in PROBES else documented(401, 403, 503)
        app.add_api_route(
            path,
            endpoint,
            tags=["service"],
            response_class=PlainTextResponse,
            responses=failing,
        )
    app.router.routes.extend(page.routes())
    app.openapi = _described(app.openapi, asks_for_token=access.token is not None)  # type: ignore[method-assign]
    return Gate(app, access)


def _described(
    generate: Callable[[], dict[str, Any]], *, asks_for_token: bool
) -> Callable[[], dict[str, Any]]:
    """Let OpenAPI know the problem documents and the token."""

    @cache
    def openapi() -> dict[str, Any]:
        schema = generate()
        parts = schema["components"]
        parts["schemas"]["ProblemDocument"] = ProblemDocument.model_json_schema()
        if asks_for_token:
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            for path in PROBES:
                schema["paths"][path]["get"]["security"] = []
        return schema

    return openapi


def _handlers(server: str, activity: Activity) -> dict[int | type[Exception], Handler]:
    async def known(_: Request, error: Problem) -> Response:
        return error.response()

    async def refused(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        headers = dict(error.headers or {})
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_allowed(request))
        detail = _DETAILS.get(status, str(error.detail))
        return Problem(status, detail, headers).response()

    async def invalid(_: Request, error: RequestValidationError) -> Response:
        said = "; ".join(_sentence(one) for one in error.errors())
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said).response()

    async def failed(_: Request, error: Exception) -> Response:
        problem = problem_of(error, server)
        if problem is None:
            raise error
        if problem.status is HTTPStatus.SERVICE_UNAVAILABLE:
            activity.failed(error)
        return problem.response()

    async def bug(_: Request, error: Exception) -> Response:
        activity.failed(error)
        log.error("a request has failed", exc_info=error)
        return Problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "this is a bug, please report it: see the log"
        ).response()

    return {
        Problem: known,
        HTTPException: refused,
        RequestValidationError: invalid,
        **dict.fromkeys(_FAILURES, failed),
        Exception: bug,
    }


def _allowed(request: Request) -> list[str]:
    """The methods by which something can be done at the path of a request."""
    allowed: set[str] = set()
    for route in request.app.routes:
        for method in _METHODS:
            if route.matches({**request.scope, "method": method})[0] is Match.FULL:
                allowed.add(method)
    # See `Gate`.
    return sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)


def _sentence(error: Any) -> str:
    """What is wrong with one part of a request."""
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}"
