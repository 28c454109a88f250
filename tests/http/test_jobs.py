"""Sweeps that are asked for over HTTP: one at a time, looked at, cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from time import monotonic
from typing import Any

import httpx
import pytest
import redis
import redis.asyncio

from redis_retention.http import jobs
from tests.cli.conftest import Run, documents, fill, run
from tests.daemon.proxy import Proxy
from tests.daemon.service import PATIENCE
from tests.http.conftest import Serving, problem
from tests.servers.start import Server

__all__ = ["run"]

LEASE = "retention:lease:sweep:checkpoint"
SWEEP = {"policy": {"keep_last": 2}}


async def ended(browser: httpx.AsyncClient, started: httpx.Response) -> Any:
    """What has become of a job, when it is over."""
    assert started.status_code == 202, started.text
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        job = (await browser.get(started.headers["location"])).json()
        if job["status"] != "running":
            return job
        await asyncio.sleep(0.02)
    raise AssertionError("it goes on and on")


@pytest.fixture
def line(redis_stack: Server, stack: redis.Redis) -> Iterator[Proxy]:
    """What leads to the server, slowly where a test says so."""
    with Proxy(redis_stack.port) as proxy:
        yield proxy


@pytest.fixture
async def far(line: Proxy, serving: Serving) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of an application whose server is at the other end of that line."""
    client = redis.asyncio.Redis.from_url(line.url)
    yield serving(client=client)
    await client.aclose()


async def test_a_sweep_is_a_job(browser: httpx.AsyncClient, run: Run, stack: redis.Redis) -> None:
    for thread in ("a", "b"):
        fill(stack, thread, 5)
    started = await browser.post("/api/cleanup/all", json=SWEEP)
    job = await ended(browser, started)
    assert started.json()["id"] == job["id"]
    assert job["status"] == "done"
    assert job["error"] is None
    assert job["progress"]["keys"] == job["progress"]["total"] > 0
    result = job["result"]
    assert result.keys() == run("sweep", "--keep-last", "2", "--json").json.keys()
    assert (result["threads"], result["checkpoints_deleted"]) == (2, 6)
    assert (await browser.get("/api/jobs")).json() == {"jobs": [job]}
    assert not stack.exists(LEASE)


async def test_a_dry_run_of_a_sweep(browser: httpx.AsyncClient, stack: redis.Redis) -> None:
    fill(stack, "a", 5)
    before = sorted(stack.keys())
    job = await ended(
        browser, await browser.post("/api/cleanup/all", json={**SWEEP, "dry_run": True})
    )
    assert job["result"]["checkpoints_deleted"] == 3
    assert sorted(stack.keys()) == before


async def test_a_sweep_of_some_threads(browser: httpx.AsyncClient, stack: redis.Redis) -> None:
    for thread in ("a", "b"):
        fill(stack, thread, 5)
    body = {**SWEEP, "match": "a*", "trigger": 3}
    job = await ended(browser, await browser.post("/api/cleanup/all", json=body))
    assert job["result"]["checkpoints_deleted"] == 3
    assert len(documents(stack, "b")) == 5


async def test_what_keeps_a_sweep_from_beginning_is_the_answer(
    browser: httpx.AsyncClient,
) -> None:
    assert "say what to keep" in problem(await browser.post("/api/cleanup/all"), 409)
    assert (await browser.get("/api/jobs")).json() == {"jobs": []}


async def test_nobody_sweeps_beside_a_daemon(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    stack.set(LEASE, "a daemon", px=60_000)
    answer = await browser.post("/api/cleanup/all", json=SWEEP)
    assert "somebody else is sweeping" in problem(answer, 409)
    assert int(answer.headers["retry-after"]) > 0
    assert stack.get(LEASE) == b"a daemon"


async def test_one_sweep_at_a_time_that_can_be_cancelled(
    far: httpx.AsyncClient, line: Proxy, stack: redis.Redis
) -> None:
    for thread in "abcdef":
        fill(stack, thread, 5)
    line.slow(0.1)
    first = await far.post("/api/cleanup/all", json=SWEEP)
    job = first.json()
    assert job["status"] == "running"
    assert job["id"] in problem(await far.post("/api/cleanup/all", json=SWEEP), 409)
    assert stack.exists(LEASE)
    assert (await far.delete(f"/api/jobs/{job['id']}")).json()["id"] == job["id"]
    line.slow(0)
    over = await ended(far, first)
    assert (over["status"], over["result"], over["error"]) == ("cancelled", None, None)
    assert not stack.exists(LEASE)
    assert (await ended(far, await far.post("/api/cleanup/all", json=SWEEP)))["status"] == "done"


async def test_a_sweep_that_fails_says_why(
    far: httpx.AsyncClient, line: Proxy, stack: redis.Redis
) -> None:
    fill(stack, "a", 5)
    line.slow(0.1)
    started = await far.post("/api/cleanup/all", json=SWEEP)
    line.cut()
    job = await ended(far, started)
    assert job["status"] == "failed"
    assert "127.0.0.1" in job["error"]


async def test_the_last_jobs_are_remembered(
    browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "REMEMBERED", 3)
    names = []
    for _ in range(5):
        started = await browser.post("/api/cleanup/all", json=SWEEP)
        names.append((await ended(browser, started))["id"])
    remembered = (await browser.get("/api/jobs")).json()["jobs"]
    assert [job["id"] for job in remembered] == names[:1:-1]
    problem(await browser.get(f"/api/jobs/{names[0]}"), 404)
