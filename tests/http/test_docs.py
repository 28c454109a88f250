"""The examples in docs/http-api.md: each is sent, and answered as it says there."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest
import redis

from redis_retention import Policy, Retention
from tests.cli.conftest import fill
from tests.http.conformity import openapi
from tests.http.conftest import JSON, Serving

PAGE = Path(__file__).parents[2] / "docs" / "http-api.md"
HERE = "http://127.0.0.1:8378"
# What differs from time to time.
CHECKPOINT = "1f1e4dea-af45-60be-8001-86b10f693a5f"
JOB = "d6e5b1f0c0de4c2f9f0a4e5a7f1b2c3d"


class Example(NamedTuple):
    method: str
    target: str
    body: str | None
    answer: str


def examples() -> Iterator[Example]:
    """Every call of curl that is shown, with what it prints."""
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S):
        for command, answer in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.M):
            program, *words = shlex.split(command)
            if program == "curl" and "-H" not in words:
                yield read(words, answer.strip())


def read(words: list[str], answer: str) -> Example:
    """What the words of a call of curl ask for."""
    method, body, target = None, None, ""
    remaining = iter(words)
    for word in remaining:
        if word == "-X":
            method = next(remaining)
        elif word == "--json":
            body = next(remaining)
        else:
            assert word.startswith(HERE), word
            parts = urlsplit(word)
            target = parts.path + (f"?{parts.query}" if parts.query else "")
    return Example(method or ("GET" if body is None else "POST"), target, body, answer)


EXAMPLES = list(examples())


def shape(value: Any) -> Any:
    """The fields of an answer and the kinds of what is in them, without what differs."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        # How many samples a history has is of no importance.
        shapes = [shape(one) for one in value]
        return [one for at, one in enumerate(shapes) if one not in shapes[:at]]
    return (
        "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value)
    )


def counts(answer: dict[str, Any]) -> dict[str, Any]:
    """What a reader will compare."""
    names = ("threads", "checkpoints", "kept", "deleted", "pattern", "status", "note", "detail")
    return {
        name: value
        for name, value in answer.items()
        if any(part in name for part in names)
        and isinstance(value, int | str)
        and not name.startswith("bytes")
    }


@pytest.fixture
def ids(stack: redis.Redis) -> list[str]:
    """The threads that the page speaks of; the ids of those of bo."""
    fill(stack, "ada", 36)
    fill(stack, "user-7", 12)
    made = fill(stack, "bo", 2)
    Retention(stack).sweep(Policy(keep_last=99))
    return made


async def settled(browser: httpx.AsyncClient) -> None:
    """Wait until no job is running."""
    while any(
        job["status"] == "running" for job in (await browser.get("/api/jobs")).json()["jobs"]
    ):
        await asyncio.sleep(0.02)


async def test_every_example_is_answered_as_it_says(
    serving: Serving, stack: redis.Redis, ids: list[str]
) -> None:
    browser, job = serving(Policy(keep_last=10)), JOB
    for example in EXAMPLES:
        # The one that fails is asked of a service without any policy.
        target = serving() if "no policy given" in example.answer else browser
        path = example.target.replace(CHECKPOINT, ids[0]).replace(JOB, job)
        headers = None if example.body is None else JSON
        answer = await target.request(example.method, path, content=example.body, headers=headers)
        if answer.status_code == 202:
            job = answer.json()["id"]
        await settled(browser)
        if not example.answer.startswith("{"):
            assert answer.text.startswith(example.answer.removesuffix("\n…")), example
            continue
        expected, said = json.loads(example.answer), answer.json()
        assert shape(said) == shape(expected), example
        assert counts(said) == counts(expected), example


def test_every_route_has_an_example() -> None:
    sent = {(one.method, one.target.partition("?")[0]) for one in EXAMPLES}
    for path, operations in openapi()["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", path)
        for method in operations:
            assert any(
                kind == method.upper() and re.fullmatch(pattern, target) for kind, target in sent
            ), (method, path)
