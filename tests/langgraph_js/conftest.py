"""LangGraph.js, started once for all tests of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.langgraph_js.fetch import fetch
from tests.langgraph_js.program import Program
from tests.servers.fetch import ServerUnavailable


@pytest.fixture(scope="session")
def program() -> Iterator[Program]:
    """LangGraph.js; skips the test where it cannot be had, except in CI."""
    try:
        packages = fetch()
    except ServerUnavailable as unavailable:
        if os.environ.get("CI"):
            pytest.fail(f"CI has LangGraph.js, but {unavailable}")
        pytest.skip(str(unavailable))
    running = Program(packages)
    yield running
    running.close()
