"""Sweeps that were asked for: one at a time, to be looked at and cancelled while they go on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from http import HTTPStatus
from typing import Any, Literal
from uuid import uuid4

from redis_retention import bodies
from redis_retention.activity import Activity
from redis_retention.bodies import Body
from redis_retention.http.backend import Backend
from redis_retention.http.history import trim_of
from redis_retention.http.problems import Problem, problem_of
from redis_retention.logs import fields, logger
from redis_retention.results import TrimResult
from redis_retention.sources.sweep import Progress
from redis_retention.stopping import Stopped

log = logger("http")

REMEMBERED = 50
"""Jobs that are remembered, the one that runs among them."""

# Of the requests of a sweep the one before which it counts as begun.
_BEGUN = 2

Status = Literal["running", "done", "failed", "cancelled"]


@dataclass(slots=True)
class Job:
    """One sweep.

    Attributes:
        id: What it is called.
        status: What has become of it.
        progress: How far it has come.
        result: What it did, when it is done.
        error: Why it has failed.
        started: When it was asked for.
        cancelled: Whether it is to end.
    """

    id: str = field(default_factory=lambda: uuid4().hex)
    status: Status = "running"
    progress: Progress | None = None
    result: TrimResult | None = None
    error: str | None = None
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    cancelled: bool = False

    def body(self) -> Body:
        """The job as JSON has it."""
        now = self.progress
        return {
            "id": self.id,
            "status": self.status,
            "progress": None
            if now is None
            else {"stage": now.stage.value, "keys": now.keys, "total": now.total},
            "result": None if self.result is None else bodies.of_trim(self.result),
            "error": self.error,
            "started": self.started.isoformat(timespec="milliseconds"),
        }


class Jobs:
    """The sweeps of one process.

    Args:
        backend: The retention that sweeps.
        activity: Where to count what they do.
    """

    def __init__(self, backend: Backend, activity: Activity) -> None:
        self._backend = backend
        self._activity = activity
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> list[Job]:
        """Those that are remembered, the newest first."""
        return list(reversed(self._jobs.values()))

    def get(self, name: str) -> Job:
        """One of them.

        Raises:
            Problem: There is none of that name.
        """
        if name not in self._jobs:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such job, or it is forgotten by now")
        return self._jobs[name]

    def cancel(self, name: str) -> Job:
        """Let one end after the call in hand, if it still runs."""
        job = self.get(name)
        job.cancelled = True
        return job

    async def start(self, options: Mapping[str, Any]) -> Job:
        """Begin a sweep.

        Args:
            options: The arguments of `Retention.sweep`.

        Raises:
            Problem: Somebody sweeps already.
            RetentionError: It cannot begin.
        """
        for other in self._jobs.values():
            if other.status == "running":
                raise Problem(
                    HTTPStatus.CONFLICT,
                    f"the sweep of the job {other.id} is not over: wait or end it",
                )
        job, begun = Job(), asyncio.Event()
        self._remember(job)
        task = asyncio.create_task(self._sweep(job, begun, options))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        waiting = asyncio.create_task(begun.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            # What keeps a sweep from beginning is the answer to the request.
            task.result()
        return job

    async def close(self) -> None:
        """End the sweep that runs."""
        for job in self._jobs.values():
            job.cancelled = True
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _remember(self, job: Job) -> None:
        self._jobs[job.id] = job
        while len(self._jobs) > REMEMBERED:
            del self._jobs[next(iter(self._jobs))]

    async def _sweep(self, job: Job, begun: asyncio.Event, options: Mapping[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        asked = 0

        def stopped() -> bool:
            nonlocal asked
            asked += 1
            # The first reply tells whether it can begin at all.
            if asked == _BEGUN:
                loop.call_soon_threadsafe(begun.set)
            return job.cancelled

        def progress(now: Progress) -> None:
            job.progress = now

        log.info("sweeping: a request", extra=fields(job=job.id))
        try:
            job.result = await self._backend.retention.sweep(
                **options, alone=not options["dry_run"], stopped=stopped, progress=progress
            )
            job.status = "done"
            if not job.result.dry_run:
                self._activity.trimmed(trim_of("sweep", None, job.result))
        except Exception as error:
            if not begun.is_set():
                del self._jobs[job.id]
                raise
            self._fail(job, error)
        finally:
            log.info("sweep ended", extra=fields(job=job.id, status=job.status))

    def _fail(self, job: Job, error: Exception) -> None:
        if isinstance(error, Stopped) and job.cancelled:
            job.status = "cancelled"
            return
        job.status = "failed"
        self._activity.failed(error)
        if isinstance(error, Stopped):
            job.error = str(error)
            return
        problem = problem_of(error, self._backend.server)
        if problem is None:
            log.error("the sweep has failed", exc_info=error)
        job.error = str(error) if problem is None else problem.detail
