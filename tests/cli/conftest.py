"""What the tests of the command line share."""

from __future__ import annotations

import json
import socketserver
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from langgraph.checkpoint.base.id import uuid6

from redis_retention.cli import main
from tests.graphs.savers import without_search


@dataclass(frozen=True)
class Outcome:
    """What a command has printed, and how it has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    @property
    def json_and_error(self) -> tuple[Any, str]:
        """The one object of what was done, and the one line of what was not."""
        assert self.code == 1
        *_, error = self.err.splitlines()
        assert error.startswith("error: ")
        return json.loads(self.out), error.removeprefix("error: ")

    @property
    def error(self) -> str:
        """The one line of a failure."""
        assert self.code in (1, 2)
        assert self.out == ""
        assert self.err.startswith("error: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("error: ").rstrip("\n")


Run = Callable[..., Outcome]


def run_at(url: str | None) -> Run:
    """A function that runs the program on the server at `url`."""

    def run(*arguments: str, stdin: bytes = b"") -> Outcome:
        runner = CliRunner(env={"REDIS_RETENTION_URL": url})
        result = runner.invoke(main, arguments, input=stdin, prog_name="redis-retention")
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def run(stack: redis.Redis) -> Run:
    """Runs the program on a server with all modules and an empty database."""
    at = stack.connection_pool.connection_kwargs
    return run_at(f"redis://{at['host']}:{at['port']}/0")


def fill(client: redis.Redis, thread: str, checkpoints: int, namespace: str = "") -> list[str]:
    """Write a thread with the real saver, two writes to each checkpoint; its ids, oldest first."""
    saver = without_search(client)
    config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
    ids = []
    for step in range(checkpoints):
        checkpoint: Any = {
            "v": 4,
            "id": str(uuid6(clock_seq=step)),
            "ts": "2026-01-01T00:00:00+00:00",
            "channel_values": {"messages": [f"message {step}"]},
            "channel_versions": {"messages": str(step)},
            "versions_seen": {},
        }
        metadata: Any = {"source": "loop" if step % 3 else "input", "step": step, "parents": {}}
        config = saver.put(config, checkpoint, metadata, {})
        saver.put_writes(config, [("messages", "hi")] * 2, str(uuid.uuid4()))
        ids.append(checkpoint["id"])
    return ids


def documents(client: redis.Redis, thread: str) -> list[str]:
    """The ids of a thread's checkpoints in the root namespace."""
    start = f"checkpoint:{thread}:__empty__:".encode()
    return sorted(k[len(start) :].decode() for k in client.scan_iter() if k.startswith(start))


@contextmanager
def listening(reply: bytes | None, asked: threading.Event | None = None) -> Iterator[int]:
    """The port of something that gives everybody the same answer, or none at all.

    Args:
        reply: The answer.
        asked: Set when somebody has asked.
    """
    done = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            if asked is not None:
                asked.set()
            if reply is None:
                done.wait(30)
            else:
                self.request.sendall(reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            done.set()
            server.shutdown()
