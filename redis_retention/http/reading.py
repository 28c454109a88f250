"""Routes that change nothing."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from redis_retention import bodies
from redis_retention.http import models, requests
from redis_retention.http.context import JsonAnswer, Shared, ThreadSegment
from redis_retention.http.listing import Threads
from redis_retention.http.paths import decoded
from redis_retention.http.problems import documented

router = APIRouter(prefix="/api", responses=documented(401, 403, 409, 422, 503))

_LIMIT = 500


@router.get("/cleanup/stats", response_model=models.Stats, tags=["threads"])
async def stats(
    shared: Shared,
    top: Annotated[int, Query(ge=0, le=_LIMIT, description="How many of the largest.")] = 20,
    above: Annotated[
        int | None,
        Query(ge=1, le=2**53, description="Name checkpoints with more bytes than this, too."),
    ] = None,
) -> Response:
    """How many threads and checkpoints there are, and which threads are the largest."""
    return JsonAnswer(bodies.of_stats(await shared.retention.stats(top, above)))


@router.get("/threads", response_model=models.Threads, tags=["threads"])
async def threads(
    shared: Shared,
    sort: Annotated[
        Literal["bytes", "checkpoints"],
        Query(description="By bytes, only the 1,000 threads with the most checkpoints are ranked."),
    ] = "checkpoints",
    limit: Annotated[int, Query(ge=1, le=_LIMIT, description="How many.")] = 50,
    cursor: Annotated[
        str | None, Query(description="`next` of the answer before.", max_length=20_000)
    ] = None,
    match: Annotated[
        str, Query(description="A glob: only threads whose ids match it.", max_length=1_000)
    ] = "*",
) -> Response:
    """Threads, the largest first, page by page."""
    listing = Threads(shared.retention, shared.sizes, match.encode())
    return JsonAnswer(await listing.page(sort, limit, cursor))


@router.get("/threads/{thread}/plan", response_model=models.Plan, tags=["threads"])
async def plan(
    shared: Shared, thread: ThreadSegment, words: Annotated[requests.PlanWords, Query()]
) -> Response:
    """What a trim would do to each checkpoint of a thread, and why."""
    made = await shared.retention.plan(decoded(thread), words.policy(), look_in=words.look_in)
    return JsonAnswer(bodies.of_plan(made))


@router.get("/policies", response_model=models.Rules, tags=["policies"])
async def policies(shared: Shared) -> Response:
    """The stored policies, the most specific first."""
    return JsonAnswer(bodies.of_rules(await shared.retention.policies()))


@router.get("/pins", response_model=models.AllPins, tags=["pins"])
async def all_pins(shared: Shared) -> Response:
    """What is pinned of all threads; it is found by a pass over the database."""
    return JsonAnswer(bodies.of_all_pins(await shared.retention.all_pins()))


@router.get("/threads/{thread}/pins", response_model=models.Pins, tags=["pins"])
async def pins(shared: Shared, thread: ThreadSegment) -> Response:
    """What is pinned of a thread."""
    name = decoded(thread)
    return JsonAnswer(bodies.of_pins(name, await shared.retention.pins(name)))


@router.get("/history", response_model=models.History, tags=["service"])
async def history(shared: Shared) -> Response:
    """How much there was, and what was trimmed, since this process started."""
    await shared.history.sample()
    return JsonAnswer(shared.history.body())


@router.get("/health", response_model=models.Health, tags=["service"])
async def health(shared: Shared) -> Response:
    """What the service does."""
    observed = shared.observed
    return JsonAnswer(
        {
            "healthy": observed.healthy,
            "ready": await observed.is_ready(),
            "read_only": shared.read_only,
            "daemon": observed.service(),
        }
    )
