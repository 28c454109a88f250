"""Thread ids in paths, byte for byte."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis

from redis_retention import Policy, Retention
from redis_retention.http.paths import decoded, encoded, exact
from tests.cli.conftest import documents, fill
from tests.http.conftest import Serving
from tests.integration.test_thread_ids import NASTY

HOSTILE: dict[str, bytes] = {
    **{name: thread.encode() for name, thread in NASTY.items() if thread},
    "slash": b"a/b",
    "slashes": b"//a//",
    "dots": b"..",
    "a way up": b"../../healthz",
    "a route": b"a/plan",
    "question": b"a?b=c",
    "fragment": b"a#b",
    "encoded": b"a%2Fb",
    "semicolon": b"a;b",
    "no UTF-8": b"\xff\xfe",
    "half a character": b"\xc3",
    "all bytes": bytes(range(256)),
}


@pytest.fixture
def browser(serving: Serving) -> httpx.AsyncClient:
    return serving()


@pytest.mark.parametrize("thread", HOSTILE.values(), ids=HOSTILE.keys())
async def test_any_id_is_one_segment(
    browser: httpx.AsyncClient, stack: redis.Redis, thread: bytes
) -> None:
    Retention(stack).pin(thread, note="this one")
    answer = await browser.get(f"/api/threads/{encoded(thread)}/pins")
    assert [pin["note"] for pin in answer.json()["pins"]] == ["this one"]


async def test_exactly_the_thread_that_was_named_is_trimmed(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    names = ["a/b", "a", "b", "a%2Fb", "a//b", "a/b/", "A/B"]
    for name in names:
        fill(stack, name, 3)
    body = {"policy": {"keep_last": 1}}
    answer = await browser.post("/api/cleanup/thread/a%2fb", json=body)
    assert answer.json()["checkpoints_deleted"] == 2
    assert [len(documents(stack, name)) for name in names] == [1, 3, 3, 3, 3, 3, 3]


async def test_what_a_list_says_can_be_asked_for(
    browser: httpx.AsyncClient, stack: redis.Redis
) -> None:
    fill(stack, "ü/ü", 2)
    retention = Retention(stack)
    retention.sweep(Policy(keep_last=9))
    # An id that is no text, as another program may have written it.
    [index] = stack.scan_iter("retention:*index*", _type="zset")
    stack.copy(index, index.replace("ü/ü".encode(), b"\xff"))
    listed = (await browser.get("/api/threads")).json()["threads"]
    assert {decoded(one["encoded"]) for one in listed} == {"ü/ü".encode(), b"\xff"}
    assert {one["thread"] for one in listed} == {"ü/ü", "\ufffd"}


@pytest.mark.parametrize(
    ("scope", "path", "root"),
    [
        ({"path": "/a/b", "raw_path": b"/a%2fb"}, "/a%2Fb", ""),
        ({"path": "/a/b", "raw_path": b"/a%2Fb?c"}, "/a%2Fb", ""),
        ({"path": "/\ufffd", "raw_path": b"/%FF"}, "/%FF", ""),
        ({"path": "/a b", "raw_path": None}, "/a%20b", ""),
        ({"path": "/a/b"}, "/a/b", ""),
        ({"path": "/%61", "raw_path": b"/%2561"}, "/%2561", ""),
        # Mounted, by a framework that leaves the path as it is.
        ({"path": "/x/a/b", "root_path": "/x", "raw_path": b"/x/a%2Fb"}, "/x/a%2Fb", "/x"),
        # By one that strips it.
        ({"path": "/a/b", "root_path": "/x", "raw_path": b"/x/a%2Fb"}, "/x/a%2Fb", "/x"),
        # Something before has rewritten it.
        ({"path": "/c", "raw_path": b"/a%2Fb"}, "/c", ""),
        ({"path": "/ü/c", "root_path": "/ü", "raw_path": b"/%C3%BC/c"}, "/%C3%BC/c", "/%C3%BC"),
    ],
)
def test_the_path_as_it_was_sent(scope: dict[str, Any], path: str, root: str) -> None:
    found = exact(scope)
    assert (found["path"], found["root_path"]) == (path, root)
