"""Who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import redis

from redis_retention.http import access
from tests.cli.conftest import documents, fill
from tests.http.conftest import JSON, Serving, problem

TOKEN = "correct-horse-battery"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
KEEP_LAST = {"policy": {"keep_last": 2}}

WRITES = [
    ("POST", "/api/cleanup/thread/a"),
    ("POST", "/api/cleanup/all"),
    ("PUT", "/api/policies/*"),
    ("DELETE", "/api/policies/*"),
    ("PUT", "/api/threads/a/pin"),
    ("DELETE", "/api/threads/a/pin"),
    ("PUT", "/api/threads/a/pins/b"),
    ("DELETE", "/api/threads/a/pins/b"),
    ("DELETE", "/api/jobs/a"),
]
READS = [
    "/api/threads",
    "/api/cleanup/stats",
    "/api/pins",
    "/api/health",
    "/metrics",
    "/openapi.json",
]


@pytest.fixture
def guarded(serving: Serving) -> httpx.AsyncClient:
    return serving(token=TOKEN)


# --- the token ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer é"],
)
async def test_without_the_token_nothing_is_told(
    guarded: httpx.AsyncClient, given: str | None
) -> None:
    headers = [] if given is None else [(b"Authorization", given.encode("latin-1"))]
    for path in [*READS, "/nothing"]:
        answer = await guarded.get(path, headers=headers)
        problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_without_the_token_nothing_is_done(
    guarded: httpx.AsyncClient, stack: redis.Redis
) -> None:
    fill(stack, "a", 3)
    for method, path in WRITES:
        problem(await guarded.request(method, path, json={}), 401)
    assert len(documents(stack, "a")) == 3


@pytest.mark.parametrize("kind", ["Bearer", "bearer"])
async def test_with_the_token(guarded: httpx.AsyncClient, kind: str) -> None:
    for path in READS:
        answer = await guarded.get(path, headers={"Authorization": f"{kind} {TOKEN}"})
        assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_probes_need_no_token(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 200


async def test_no_answer_tells_the_token(guarded: httpx.AsyncClient) -> None:
    for headers in ({}, {"Authorization": f"Bearer {TOKEN}"}):
        for path in [*READS, "/nothing"]:
            answer = await guarded.get(path, headers=headers)
            assert TOKEN not in answer.text + str(answer.headers)


async def test_openapi_says_that_there_is_a_token(guarded: httpx.AsyncClient) -> None:
    answer = await guarded.get("/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"})
    said = answer.json()
    assert said["security"] == [{"token": []}]
    assert said["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert said["paths"]["/healthz"]["get"]["security"] == []


# --- read-only ------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_read_only_refuses_every_write(
    serving: Serving, stack: redis.Redis, method: str, path: str
) -> None:
    fill(stack, "a", 3)
    before = sorted(stack.keys())
    answer = await serving(read_only=True).request(method, path, json=KEEP_LAST)
    assert "read-only" in problem(answer, 403)
    assert sorted(stack.keys()) == before


async def test_read_only_can_be_read(serving: Serving) -> None:
    browser = serving(read_only=True)
    for path in READS:
        assert (await browser.get(path)).status_code == 200
    assert (await browser.get("/api/health")).json()["read_only"] is True


async def test_every_write_is_listed_here(browser: httpx.AsyncClient) -> None:
    paths = (await browser.get("/openapi.json")).json()["paths"]
    there = {
        (method.upper(), path)
        for path, methods in paths.items()
        for method in methods
        if method != "get"
    }
    assert len(there) == len(WRITES)


# --- browsers -------------------------------------------------------------------------------


@pytest.fixture
def at_home(serving: Serving) -> httpx.AsyncClient:
    """A service of this machine that asks for no token."""
    return serving(hosts=LOOPBACK, base_url="http://127.0.0.1:8378")


@pytest.mark.parametrize("host", ["localhost", "localhost:8378", "127.0.0.1:8378", "[::1]:8378"])
async def test_names_of_this_machine(at_home: httpx.AsyncClient, host: str) -> None:
    assert (await at_home.get("/api/threads", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8378", "", "[", "127.0.0.1@evil"]
)
async def test_a_name_that_somebody_lets_lead_here(
    at_home: httpx.AsyncClient, stack: redis.Redis, host: str
) -> None:
    fill(stack, "a", 3)
    headers = {"Host": host, "Origin": f"http://{host}"}
    for path in READS:
        assert "not called by that name" in problem(await at_home.get(path, headers=headers), 403)
    answer = await at_home.post("/api/cleanup/thread/a", json=KEEP_LAST, headers=headers)
    problem(answer, 403)
    assert len(documents(stack, "a")) == 3


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": "["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_the_page_of_another_site_changes_nothing(
    at_home: httpx.AsyncClient, stack: redis.Redis, headers: dict[str, str]
) -> None:
    fill(stack, "a", 3)
    before = sorted(stack.keys())
    for method, path in WRITES:
        answer = await at_home.request(method, path, json=KEEP_LAST, headers=headers)
        assert "another site" in problem(answer, 403)
    assert sorted(stack.keys()) == before


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8378", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://127.0.0.1:8378"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
)
async def test_the_page_of_this_service_changes_something(
    at_home: httpx.AsyncClient, stack: redis.Redis, headers: dict[str, str]
) -> None:
    fill(stack, "a", 3)
    answer = await at_home.post("/api/cleanup/thread/a", json=KEEP_LAST, headers=headers)
    assert answer.json()["checkpoints_deleted"] == 1


async def test_behind_a_proxy_for_tls(serving: Serving) -> None:
    browser = serving(token=TOKEN, base_url="http://ops.example")
    headers = {"Origin": "https://ops.example", "Authorization": f"Bearer {TOKEN}"}
    answer = await browser.put("/api/threads/a/pin", json={}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", ""],
)
async def test_a_form_changes_nothing(
    at_home: httpx.AsyncClient, stack: redis.Redis, kind: str
) -> None:
    fill(stack, "a", 3)
    content = b'{"policy": {"keep_last": 2}}'
    answer = await at_home.post(
        "/api/cleanup/thread/a", content=content, headers={"Content-Type": kind}
    )
    assert "send JSON" in problem(answer, 415)
    assert len(documents(stack, "a")) == 3


async def test_headers_that_tell_browsers_what_not_to_do(at_home: httpx.AsyncClient) -> None:
    for path in ("/api/threads", "/nothing"):
        headers = (await at_home.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


# --- bounds ---------------------------------------------------------------------------------


async def test_a_body_that_is_too_long(at_home: httpx.AsyncClient, stack: redis.Redis) -> None:
    fill(stack, "a", 3)
    body = b'{"dry_run": false' + b" " * access.LARGEST_BODY + b"}"

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    # With a length, and without.
    for content in (body, pieces()):
        answer = await at_home.post("/api/cleanup/thread/a", content=content, headers=JSON)
        assert "65,536 bytes" in problem(answer, 413)
    assert len(documents(stack, "a")) == 3


async def test_a_body_in_pieces_counts(at_home: httpx.AsyncClient, stack: redis.Redis) -> None:
    fill(stack, "a", 3)

    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"policy": {"keep_l'
        yield b'ast": 1}}'

    answer = await at_home.post("/api/cleanup/thread/a", content=pieces(), headers=JSON)
    assert answer.json()["checkpoints_deleted"] == 2


async def test_too_many_requests_at_a_time(
    at_home: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "MOST_UNDER_WAY", 0)
    answer = await at_home.get("/api/threads")
    problem(answer, 503)
    assert answer.headers["retry-after"] == "1"
    assert (await at_home.get("/healthz")).status_code == 200
