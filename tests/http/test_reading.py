"""What can be read over HTTP is what the command line's `--json` says."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis

from redis_retention import Policy, Retention
from tests.cli.conftest import Run, fill, run

__all__ = ["run"]


async def body(browser: httpx.AsyncClient, path: str, **options: Any) -> Any:
    answer = await browser.get(path, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


@pytest.fixture
def threads(stack: redis.Redis) -> dict[str, list[str]]:
    """Three threads that are indexed, of different sizes."""
    made = {name: fill(stack, name, count) for name, count in (("a", 5), ("b/c", 12), ("ü", 3))}
    Retention(stack).sweep(Policy(keep_last=100))
    return made


async def test_stats(browser: httpx.AsyncClient, run: Run, threads: dict[str, list[str]]) -> None:
    said = await body(browser, "/api/cleanup/stats", params={"top": 2})
    assert [one["thread"] for one in said["largest"]] == ["b/c", "a"]
    assert said.keys() == run("stats", "--json").json.keys()
    assert (said["threads"], said["checkpoints"]) == (3, 20)


async def test_a_plan(browser: httpx.AsyncClient, run: Run, threads: dict[str, list[str]]) -> None:
    said = await body(browser, "/api/threads/b%2Fc/plan", params={"keep_last": 10})
    told = run("plan", "b/c", "--keep-last", "10", "--json").json
    for plan in (said, told):
        for one in plan["checkpoints"]:
            # It has grown older meanwhile.
            del one["age_seconds"]
    assert said == told
    assert said["checkpoints_deleted"] == 2


@pytest.mark.parametrize("sort", ["checkpoints", "bytes"])
async def test_threads_that_match(
    browser: httpx.AsyncClient, threads: dict[str, list[str]], sort: str
) -> None:
    for match, found in (("*/*", ["b/c"]), ("[ab]*", ["b/c", "a"]), ("ü", ["ü"]), ("x*", [])):
        said = await body(browser, "/api/threads", params={"sort": sort, "match": match})
        assert [one["thread"] for one in said["threads"]] == found
    answer = await browser.get("/api/threads", params={"sort": sort, "match": "a" * 300})
    assert answer.status_code == 422


@pytest.mark.parametrize("sort", ["checkpoints", "bytes"])
async def test_threads_page_by_page(
    browser: httpx.AsyncClient, threads: dict[str, list[str]], sort: str
) -> None:
    first = await body(browser, "/api/threads", params={"sort": sort, "limit": 2})
    assert [one["thread"] for one in first["threads"]] == ["b/c", "a"]
    assert [one["encoded"] for one in first["threads"]] == ["b%2Fc", "a"]
    assert [one["checkpoints"] for one in first["threads"]] == [12, 5]
    assert all(one["bytes"] > 0 for one in first["threads"])
    cursor = first["next"]
    last = await body(browser, "/api/threads", params={"sort": sort, "limit": 2, "cursor": cursor})
    assert [one["thread"] for one in last["threads"]] == ["ü"]
    assert last["next"] is None


async def test_policies(browser: httpx.AsyncClient, run: Run, stack: redis.Redis) -> None:
    Retention(stack).set_policy(Policy(keep_last=3), "vip-*", trigger=9)
    assert await body(browser, "/api/policies") == run("policy", "list", "--json").json


async def test_pins(
    browser: httpx.AsyncClient, run: Run, stack: redis.Redis, threads: dict[str, list[str]]
) -> None:
    retention = Retention(stack)
    retention.pin("b/c", threads["b/c"][1], note="evidence")
    retention.pin("ü")
    assert await body(browser, "/api/pins") == run("pins", "--all", "--json").json
    assert await body(browser, "/api/threads/b%2Fc/pins") == run("pins", "b/c", "--json").json


async def test_health(browser: httpx.AsyncClient) -> None:
    said = await body(browser, "/api/health")
    assert said == {"healthy": True, "ready": True, "read_only": False, "daemon": None}


@pytest.mark.parametrize("path", ["/healthz", "/api/health", "/api/cleanup/stats"])
async def test_head_is_get_without_a_body(browser: httpx.AsyncClient, path: str) -> None:
    head, get = await browser.head(path), await browser.get(path)
    assert head.status_code == get.status_code == 200
    assert head.headers == get.headers
    assert head.content == b""


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, answer.text) == (200, "ok\n")
