"""What all routes of one application share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Path, Request
from starlette.responses import Response

from redis_retention.http.backend import Backend
from redis_retention.http.history import History, trim_of
from redis_retention.http.jobs import Jobs
from redis_retention.http.listing import Sizes
from redis_retention.http.observed import Observed
from redis_retention.results import TrimResult
from redis_retention.retention import AsyncRetention


@dataclass(frozen=True, slots=True)
class Context:
    """What all routes of one application share.

    Attributes:
        backend: The retention and its server.
        jobs: The sweeps that were asked for.
        observed: What the process does.
        read_only: Nothing may be changed.
        history: What is remembered of the time since the process started.
        sizes: What is remembered of how large threads are.
    """

    backend: Backend
    jobs: Jobs
    observed: Observed
    read_only: bool
    history: History
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def retention(self) -> AsyncRetention:
        """What trims."""
        return self.backend.retention

    def count(self, thread: bytes, result: TrimResult) -> None:
        """Let the metrics and the history show what a request for a thread has done."""
        if not result.dry_run:
            self.observed.activity.trimmed(trim_of("request", thread, result))


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Shared = Annotated[Context, Depends(_context)]


class JsonAnswer(Response):
    """A body as JSON, in ASCII, so that it bears whatever stands in the database."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of it."""
        return json.dumps(content, allow_nan=False).encode("ascii")


def _segment(description: str) -> Any:
    return Path(description=description, min_length=1)


ThreadSegment = Annotated[str, _segment("The thread id, percent-encoded byte for byte.")]
CheckpointSegment = Annotated[str, _segment("The checkpoint's id, percent-encoded.")]
PatternSegment = Annotated[str, _segment("A glob for thread ids, percent-encoded byte for byte.")]
