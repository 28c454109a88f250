"""The examples of the documentation run as they stand."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import redis

from tests.cli.conftest import documents, fill
from tests.servers.start import Server

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
TOKEN = {"Authorization": "Bearer a-token"}


@pytest.fixture
def flask_app(redis_stack: Server, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The application, for one server."""
    monkeypatch.setenv("REDIS_URL", redis_stack.url)
    monkeypatch.setenv("RETENTION_TOKEN", "a-token")
    spec = importlib.util.spec_from_file_location("flask_app", EXAMPLES / "flask_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_flask_answers_and_lets_operators_trim(stack: redis.Redis, flask_app: ModuleType) -> None:
    browser = flask_app.app.test_client()
    for turn in range(1, 9):
        answer = browser.post("/chat/ada", data={"message": "Hello!"})
        assert answer.json == {"answer": f"You have asked {turn} times."}
    assert len(documents(stack, "ada")) == 24
    place = "/ops/retention/api/cleanup/thread/ada"
    assert browser.post(place).status_code == 401
    trimmed = browser.post(place, headers=TOKEN).json
    assert trimmed["checkpoints_kept"] == len(documents(stack, "ada")) == 10
    assert browser.post("/chat/ada", data={"message": "And now?"}).json == {
        "answer": "You have asked 9 times."
    }
    flask_app.client.close()


@pytest.fixture
def scheduled(redis_stack: Server) -> Callable[[], str]:
    """Runs the job, and answers what it says."""

    def run() -> str:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "scheduled_sweep.py")],
            env={**os.environ, "REDIS_URL": redis_stack.url, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_the_scheduled_job_sweeps(stack: redis.Redis, scheduled: Callable[[], str]) -> None:
    for thread in ("a", "b"):
        fill(stack, thread, 15)
    assert scheduled() == "Checkpoints deleted: 10 of 2 threads\n"
    assert len(documents(stack, "a")) == 10


def test_the_scheduled_job_lets_others_sweep(
    stack: redis.Redis, scheduled: Callable[[], str]
) -> None:
    fill(stack, "a", 15)
    stack.set("retention:lease:sweep:checkpoint", "a daemon", px=60_000)
    assert scheduled() == "Somebody else is sweeping.\n"
    assert len(documents(stack, "a")) == 15
