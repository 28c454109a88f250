"""Failures as RFC 9457 problem documents: what is wrong, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from redis.exceptions import RedisClusterException, RedisError
from redis.exceptions import TimeoutError as NoAnswer
from starlette.responses import Response

from redis_retention.errors import RetentionError
from redis_retention.explaining import explain
from redis_retention.lease import LeaseTaken
from redis_retention.operations.choice import NoPolicy
from redis_retention.policy import InvalidPolicy
from redis_retention.stopping import Stopped

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 5

NO_POLICY = (
    "say what to keep, with keep_last, keep_within, keep_runs or expire_threads_after, or store it "
    "by PUT /api/policies/*"
)
"""What to do when no policy is given and no stored one matches."""


class ProblemDocument(BaseModel):
    """What went wrong (RFC 9457)."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    type: str = Field("about:blank", description="The status says what kind of problem it is.")
    title: str
    """The status in words."""
    status: int
    """The status of the answer."""
    detail: str
    """What is wrong, and what to do about it."""


class Problem(Exception):
    """Ends the work on a request.

    Args:
        status: The status of the answer.
        detail: What is wrong, and what to do about it.
        headers: Headers beside those that every problem has.
    """

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
        }
        return Response(json.dumps(body), self.status.value, self.headers, media_type=MEDIA_TYPE)


def problem_of(error: Exception, server: str) -> Problem | None:
    """What went wrong with Redis or with what was asked of it; None for any other failure.

    Args:
        error: What was raised.
        server: The URL of the server; its password is not shown.
    """
    if isinstance(error, NoPolicy):
        return Problem(HTTPStatus.CONFLICT, f"{error}: {NO_POLICY}")
    if isinstance(error, InvalidPolicy):
        return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    if isinstance(error, Stopped):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the service is about to end", _retry())
    if isinstance(error, LeaseTaken):
        return Problem(HTTPStatus.CONFLICT, str(error), _retry())
    if isinstance(error, RetentionError):
        return Problem(HTTPStatus.CONFLICT, str(error))
    if isinstance(error, NoAnswer | RedisError | RedisClusterException | OSError):
        return Problem(HTTPStatus.SERVICE_UNAVAILABLE, explain(error, server), _retry())
    return None


def _retry() -> dict[str, str]:
    return {"Retry-After": str(RETRY_SECONDS)}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI is to say of the statuses with which a route answers a problem."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }
