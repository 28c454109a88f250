"""The examples of the documentation run as they stand."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import redis

from redis_retention import Policy
from redis_retention.langgraph import RetentionRedisSaver
from tests.graphs.observe import keys
from tests.servers.start import Server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


def run(example: str, url: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example)],
        env={**os.environ, "REDIS_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_chat_keeps_itself_short_and_remembers(redis_stack: Server, stack: redis.Redis) -> None:
    said = run("chat.py", redis_stack.url)

    assert "Answered: Your name is Ada." in said
    assert "Messages: 40" in said
    retained, written = map(int, re.findall(r"Checkpoints: (\d+) of (\d+)", said)[0])
    assert retained <= 30 < written
    assert [name for name in stack.scan_iter() if not name.startswith(b"retention:")] == []


def test_the_human_is_asked_and_nothing_is_done_twice(
    redis_stack: Server, stack: redis.Redis
) -> None:
    said = run("human_in_the_loop.py", redis_stack.url)

    assert said.count("Asked: ") == 3
    log = "; ".join(f"prepared {n}; {n} approved: yes" for n in (10, 20, 30))
    assert f"Log: {log}\n" in said
    [deleted] = map(int, re.findall(r"Checkpoints deleted: (\d+)", said))
    assert deleted > 0


@pytest.fixture
def fastapi_app(redis_stack: Server, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The application, for one server."""
    monkeypatch.setenv("REDIS_URL", redis_stack.url)
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # FastAPI looks up the annotations of the handlers.
    monkeypatch.setitem(sys.modules, "fastapi_app", module)
    spec.loader.exec_module(module)
    return module


async def test_the_web_application_answers_and_trims_beside_that(
    fastapi_app: ModuleType, redis_stack: Server, stack: redis.Redis
) -> None:
    app = fastapi_app.app
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as browser,
    ):
        for turn in range(1, 16):
            reply = await browser.post("/chat/ada", params={"message": "Hello!"})
            assert reply.json() == {"answer": f"You have asked {turn} times."}
        await browser.post("/chat/bo", params={"message": "Hello!"})
        await browser.delete("/chat/bo")

    with RetentionRedisSaver(redis_client=stack, retention=Policy()) as saver:
        assert len(keys(saver, "ada")) <= 30 < 3 * 15
        assert keys(saver, "bo") == []
