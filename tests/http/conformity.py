"""Holds every answer that a test gets against what OpenAPI says of it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from functools import cache
from typing import Any

import httpx
import jsonschema
import redis

from redis_retention.http import retention_app

PROBLEM = "application/problem+json"
_SCHEMAS = "#/components/schemas/"


@cache
def openapi() -> Any:
    """What the application says of itself; no server is asked for it."""
    found: list[Any] = []

    async def ask() -> None:
        transport = httpx.ASGITransport(retention_app(redis.Redis()))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
            found.append((await browser.get("/openapi.json")).json())

    # A test may be running in a loop of this thread.
    thread = threading.Thread(target=lambda: asyncio.run(ask()))
    thread.start()
    thread.join()
    said = found[0]
    for schema in said["components"]["schemas"].values():
        # What is answered is described, all of it.
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return said


def assert_conforms(method: str, path: str, status: int, kind: str, text: str) -> None:
    """Compare one answer.

    Args:
        method: That of the request.
        path: The path of the request below the application, encoded.
        status: The status of the answer.
        kind: Its media type.
        text: Its body.
    """
    operation = _operation(method, path)
    if kind == PROBLEM:
        _validate(text, {"$ref": f"{_SCHEMAS}ProblemDocument"})
        # Those of paths and methods that there are not belong to no operation.
        assert operation is None or str(status) in operation["responses"], (method, path, status)
        return
    assert status < 400 or path in ("/healthz", "/readyz"), (method, path, status, text)
    if operation is None:
        assert path in ("/", "/openapi.json"), (method, path)
        return
    content = operation["responses"][str(status)]["content"]
    assert kind in content, (method, path, kind)
    if kind == "application/json":
        _validate(text, content[kind]["schema"])


def _operation(method: str, path: str) -> Any:
    for template, operations in openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            return operations.get(method.lower())
    return None


def _validate(text: str, schema: Any) -> None:
    whole = {**schema, "components": openapi()["components"]}
    checks = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(whole, format_checker=checks).validate(_parsed(text))


def _parsed(text: str) -> Any:
    return json.loads(text)
