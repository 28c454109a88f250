"""Routes that change something."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from redis_retention import bodies
from redis_retention.engine import Place
from redis_retention.http import models, requests
from redis_retention.http.context import (
    CheckpointSegment,
    JsonAnswer,
    PatternSegment,
    Shared,
    ThreadSegment,
)
from redis_retention.http.paths import decoded
from redis_retention.http.problems import Problem, documented
from redis_retention.operations.pins import Pin

router = APIRouter(prefix="/api", responses=documented(400, 401, 403, 409, 413, 415, 422, 503))

Namespace = Annotated[
    str, Query(description="The checkpoint's subgraph; empty for the graph itself.")
]


@router.post("/cleanup/thread/{thread}", response_model=models.Trimmed, tags=["cleanup"])
async def trim(
    shared: Shared, thread: ThreadSegment, wanted: requests.Trim | None = None
) -> Response:
    """Trim a thread now."""
    wanted = wanted or requests.Trim()
    name = decoded(thread)
    result = await shared.retention.trim(
        name,
        None if wanted.policy is None else wanted.policy.policy(),
        look_in=wanted.look_in,
        dry_run=wanted.dry_run,
    )
    shared.count(name, result)
    return JsonAnswer(bodies.of_trim(result))


@router.post(
    "/cleanup/all",
    response_model=models.Job,
    status_code=HTTPStatus.ACCEPTED,
    tags=["cleanup"],
    responses={
        202: {"headers": {"Location": {"schema": {"type": "string"}, "description": "The job."}}}
    },
)
async def sweep(request: Request, shared: Shared, wanted: requests.Sweep | None = None) -> Response:
    """Trim all threads, in one pass over the database: begins a job that can be looked at."""
    wanted = wanted or requests.Sweep()
    job = await shared.jobs.start(
        {
            "policy": None if wanted.policy is None else wanted.policy.policy(),
            "trigger": wanted.trigger,
            "match": wanted.match,
            "dry_run": wanted.dry_run,
        }
    )
    place = f"{request.scope['root_path']}/api/jobs/{job.id}"
    return JsonAnswer(job.body(), HTTPStatus.ACCEPTED, {"Location": place})


@router.get("/jobs", response_model=models.Jobs, tags=["cleanup"])
async def jobs(shared: Shared) -> Response:
    """The sweeps that were asked for here, the newest first."""
    return JsonAnswer({"jobs": [job.body() for job in shared.jobs.all()]})


@router.get("/jobs/{job}", response_model=models.Job, tags=["cleanup"], responses=documented(404))
async def job(shared: Shared, job: str) -> Response:
    """How far a sweep has come, or what it did."""
    return JsonAnswer(shared.jobs.get(job).body())


@router.delete(
    "/jobs/{job}", response_model=models.Job, tags=["cleanup"], responses=documented(404)
)
async def cancel(shared: Shared, job: str) -> Response:
    """End a sweep after the call in hand; what it has done stays done."""
    return JsonAnswer(shared.jobs.cancel(job).body())


@router.put("/policies/{pattern}", response_model=models.Rule, tags=["policies"])
async def set_policy(
    shared: Shared, pattern: PatternSegment, stored: requests.StoredPolicy
) -> Response:
    """Store a policy for the threads whose ids match a pattern."""
    policy = stored.policy.policy()
    if policy is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "say what to keep: keep_last, keep_within, keep_runs or expire_threads_after",
        )
    rule = await shared.retention.set_policy(policy, decoded(pattern), trigger=stored.trigger)
    shared.observed.rules_changed()
    return JsonAnswer(bodies.of_rule(rule))


@router.delete("/policies/{pattern}", response_model=models.RemovedRule, tags=["policies"])
async def remove_policy(shared: Shared, pattern: PatternSegment) -> Response:
    """Remove the policy with exactly this pattern."""
    name = decoded(pattern)
    removed = await shared.retention.remove_policy(name)
    shared.observed.rules_changed()
    return JsonAnswer(bodies.of_removed_rule(name, removed))


@router.put("/threads/{thread}/pins/{checkpoint}", response_model=models.Pinned, tags=["pins"])
async def pin(
    shared: Shared,
    thread: ThreadSegment,
    checkpoint: CheckpointSegment,
    namespace: Namespace = "",
    noted: requests.Note | None = None,
) -> Response:
    """Keep a checkpoint whatever a policy says."""
    name, note = decoded(thread), (noted or requests.Note()).note
    place = Place(namespace.encode(), decoded(checkpoint))
    await shared.retention.pin(name, place.checkpoint_id, namespace=place.namespace, note=note)
    return JsonAnswer(bodies.of_pinned(name, Pin(place, note)))


@router.delete("/threads/{thread}/pins/{checkpoint}", response_model=models.Unpinned, tags=["pins"])
async def unpin(
    shared: Shared, thread: ThreadSegment, checkpoint: CheckpointSegment, namespace: Namespace = ""
) -> Response:
    """Take the pin of a checkpoint away."""
    name, place = decoded(thread), Place(namespace.encode(), decoded(checkpoint))
    done = await shared.retention.unpin(name, place.checkpoint_id, namespace=place.namespace)
    return JsonAnswer(bodies.of_unpinned(name, Pin(place), done))


@router.put("/threads/{thread}/pin", response_model=models.Pinned, tags=["pins"])
async def pin_thread(
    shared: Shared, thread: ThreadSegment, noted: requests.Note | None = None
) -> Response:
    """Keep a whole thread whatever a policy says."""
    name, note = decoded(thread), (noted or requests.Note()).note
    await shared.retention.pin(name, note=note)
    return JsonAnswer(bodies.of_pinned(name, Pin(None, note)))


@router.delete("/threads/{thread}/pin", response_model=models.Unpinned, tags=["pins"])
async def unpin_thread(shared: Shared, thread: ThreadSegment) -> Response:
    """Take the pin of a whole thread away."""
    name = decoded(thread)
    return JsonAnswer(bodies.of_unpinned(name, Pin(None), await shared.retention.unpin(name)))
