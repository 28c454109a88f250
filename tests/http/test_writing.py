"""What can be done over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis

from redis_retention import Policy, Retention
from tests.cli.conftest import Run, documents, fill, run
from tests.http.conftest import JSON, Serving, problem

__all__ = ["run"]

KEEP_LAST = {"policy": {"keep_last": 2}}


async def test_a_thread_is_trimmed(
    browser: httpx.AsyncClient, run: Run, stack: redis.Redis
) -> None:
    ids = fill(stack, "a", 5)
    fill(stack, "b", 5)
    answer = await browser.post("/api/cleanup/thread/a", json=KEEP_LAST)
    said, told = answer.json(), run("trim", "b", "--keep-last", "2", "--json").json
    assert said.pop("elapsed_ms") > 0
    assert told.pop("elapsed_ms") > 0
    # The command line does not ask how much was freed.
    assert said.pop("bytes_deleted") > 0
    assert told.pop("bytes_deleted") is None
    assert said == told
    assert documents(stack, "a") == ids[-2:]


async def test_a_dry_run_changes_nothing(browser: httpx.AsyncClient, stack: redis.Redis) -> None:
    fill(stack, "a", 5)
    before = sorted(stack.keys())
    answer = await browser.post("/api/cleanup/thread/a", json={**KEEP_LAST, "dry_run": True})
    assert answer.json()["checkpoints_deleted"] == 3
    assert sorted(stack.keys()) == before


async def test_a_policy_in_words(browser: httpx.AsyncClient, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 5)
    words = {"keep_last": 1, "keep_within": "7d", "keep_runs": 2, "expire_threads_after": "2w"}
    answer = await browser.post("/api/cleanup/thread/a", json={"policy": words})
    assert answer.json()["checkpoints_kept"] == 5
    assert documents(stack, "a") == ids


async def test_without_a_policy_the_stored_ones_count(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    ids = fill(stack, "a", 5)
    assert "say what to keep" in problem(await browser.post("/api/cleanup/thread/a"), 409)
    stored = {"policy": {"keep_last": 3}, "trigger": 4}
    await browser.put("/api/policies/a*", json=stored)
    assert (await browser.post("/api/cleanup/thread/a")).json()["checkpoints_deleted"] == 2
    assert documents(stack, "a") == ids[-3:]


async def test_the_policy_of_the_service_takes_the_place_of_the_stored_default(
    serving: Serving, stack: redis.Redis
) -> None:
    for thread in ("a", "vip-a"):
        fill(stack, thread, 5)
    Retention(stack).set_policy(Policy(keep_last=1))
    Retention(stack).set_policy(Policy(keep_last=4), "vip-*")
    browser = serving(Policy(keep_last=2))
    for thread, kept in (("a", 2), ("vip-a", 4)):
        answer = await browser.post(f"/api/cleanup/thread/{thread}")
        assert answer.json()["checkpoints_kept"] == kept


async def test_policies_are_stored_and_removed(browser: httpx.AsyncClient) -> None:
    # A slash in a pattern, and bytes that are no UTF-8.
    stored = {"policy": {"keep_last": 3, "keep_within": "12h"}, "trigger": 4}
    said = (await browser.put("/api/policies/a%2F%FF*", json=stored)).json()
    expected = {
        "pattern": "a/\ufffd*",
        "keep_last": 3,
        "keep_within": 43200,
        "keep_runs": None,
        "expire_after": None,
        "expire_waiting": False,
        "trigger": 4,
        "layout": None,
    }
    assert said == expected
    assert (await browser.get("/api/policies")).json() == {"policies": [expected]}
    removed = (await browser.delete("/api/policies/a%2F%FF*")).json()
    assert removed == {"pattern": "a/\ufffd*", "removed": True}
    assert (await browser.delete("/api/policies/a%2F%FF*")).json()["removed"] is False


async def test_a_checkpoint_is_pinned_and_unpinned(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    ids = fill(stack, "a", 5)
    place = f"/api/threads/a/pins/{ids[1]}"
    said = (await browser.put(place, json={"note": "evidence"})).json()
    where = {"namespace": "", "checkpoint_id": ids[1]}
    assert said == {"thread": "a", **where, "note": "evidence", "pinned": True}
    await browser.post("/api/cleanup/thread/a", json=KEEP_LAST)
    assert documents(stack, "a") == [ids[1], *ids[-2:]]
    assert (await browser.delete(place)).json() == {"thread": "a", **where, "unpinned": True}
    assert (await browser.delete(place)).json()["unpinned"] is False


async def test_a_checkpoint_of_a_subgraph_is_pinned(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    [one] = fill(stack, "a", 1, namespace="mem")
    assert "no checkpoint" in problem(await browser.put(f"/api/threads/a/pins/{one}"), 409)
    answer = await browser.put(f"/api/threads/a/pins/{one}", params={"namespace": "mem"})
    assert answer.json()["namespace"] == "mem"


async def test_a_thread_is_pinned_and_unpinned(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    fill(stack, "a", 5)
    whole = {"thread": "a", "namespace": None, "checkpoint_id": None}
    said = (await browser.put("/api/threads/a/pin", json={})).json()
    assert said == {**whole, "note": "", "pinned": True}
    assert (await browser.post("/api/cleanup/thread/a", json=KEEP_LAST)).json()[
        "checkpoints_kept"
    ] == 5
    assert (await browser.delete("/api/threads/a/pin")).json() == {**whole, "unpinned": True}


@pytest.mark.parametrize(
    ("method", "path", "body", "told"),
    [
        ("POST", "/api/cleanup/thread/a", {"policy": {"keep_last": 0}}, "keep_last"),
        ("POST", "/api/cleanup/thread/a", {"policy": {"keep_last": "many"}}, "keep_last"),
        ("POST", "/api/cleanup/thread/a", {"policy": {"keep_within": "7"}}, "keep_within"),
        ("POST", "/api/cleanup/thread/a", {"policy": {"keep_within": "9999999999w"}}, "too long"),
        ("POST", "/api/cleanup/thread/a", {"policy": {"keep_lats": 1}}, "keep_lats"),
        ("POST", "/api/cleanup/thread/a", {"policy": {"expire_waiting": True}}, "goes with"),
        ("POST", "/api/cleanup/thread/a", {"dryrun": True}, "dryrun"),
        ("POST", "/api/cleanup/thread/a", [], "body"),
        ("POST", "/api/cleanup/all", {**KEEP_LAST, "trigger": 1}, "trigger"),
        ("POST", "/api/cleanup/all", {**KEEP_LAST, "match": "[]"}, "brackets"),
        ("PUT", "/api/policies/a", {"policy": {}}, "say what to keep"),
        ("PUT", "/api/policies/a", {"policy": {"keep_last": 3}, "trigger": 2}, "trigger"),
        ("PUT", "/api/policies/%5B%5D", {"policy": {"keep_last": 3}}, "brackets"),
        ("PUT", "/api/threads/a/pin", {"note": "x" * 1001}, "note"),
        ("GET", "/api/threads?limit=0", None, "limit"),
        ("GET", "/api/threads?sort=age", None, "sort"),
        ("GET", "/api/threads?cursor=x", None, "cursor"),
        ("GET", "/api/threads/a/plan?keep_last=x", None, "keep_last"),
        ("GET", "/api/threads/a/plan?keep=1", None, "keep"),
        ("GET", "/api/cleanup/stats?top=-1", None, "top"),
    ],
)
async def test_wrong_input_is_refused_in_a_sentence(
    serving: Serving, stack: redis.Redis, method: str, path: str, body: Any, told: str
) -> None:
    fill(stack, "a", 3)
    before = sorted(stack.keys())
    said = problem(await serving().request(method, path, json=body), 422)
    assert told in said
    assert sorted(stack.keys()) == before


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"[" * 60_000, b'{"dry_run": NaN}', b'{"policy": {"keep_last": 1e999}}']
)
async def test_a_body_that_is_no_json(serving: Serving, stack: redis.Redis, body: bytes) -> None:
    fill(stack, "a", 3)
    answer = await serving().post("/api/cleanup/thread/a", content=body, headers=JSON)
    assert answer.status_code in (400, 422)
    assert len(documents(stack, "a")) == 3


async def test_what_is_not_there(browser: httpx.AsyncClient) -> None:
    assert "openapi.json" in problem(await browser.get("/api/nothing"), 404)
    assert "openapi.json" in problem(await browser.get("/api/threads//plan"), 404)
    assert "no such job" in problem(await browser.get("/api/jobs/nothing"), 404)
    assert "no such job" in problem(await browser.delete("/api/jobs/nothing"), 404)


async def test_a_method_that_is_not_there(browser: httpx.AsyncClient) -> None:
    answer = await browser.patch("/api/threads/a/pin", json={})
    problem(answer, 405)
    assert answer.headers["allow"] == "DELETE, PUT"
    answer = await browser.post("/healthz", json={})
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


async def test_a_thread_id_that_is_too_long(browser: httpx.AsyncClient) -> None:
    answer = await browser.post(f"/api/cleanup/thread/{'x' * 4097}", json=KEEP_LAST)
    assert "4097 bytes" in problem(answer, 409)


async def test_a_name_of_ours_that_is_taken(browser: httpx.AsyncClient, stack: redis.Redis) -> None:
    stack.set("retention:policies:checkpoint", "somebody's")
    assert "is not a hash of ours" in problem(await browser.get("/api/policies"), 409)


async def test_the_metrics_count_what_requests_do(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    fill(stack, "a", 5)
    await browser.post("/api/cleanup/thread/a", json={**KEEP_LAST, "dry_run": True})
    await browser.post("/api/cleanup/thread/a", json=KEEP_LAST)
    lines = (await browser.get("/metrics")).text.splitlines()
    assert 'redis_retention_checkpoints_deleted_total{layout="langgraph-redis"} 3.0' in lines
    assert 'redis_retention_trims_total{layout="langgraph-redis"} 1.0' in lines
