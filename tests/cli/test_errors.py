"""Wrong input and servers that refuse: one line that says what to do, and nothing changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from redis_retention.cli import connection
from tests.cli.conftest import Run, documents, fill, listening, run_at
from tests.servers.start import Server, free_port

TRIM = ("trim", "a", "--keep-last", "1", "--json")

PATIENCE = 60.0
"""Seconds for what takes one on an idle machine."""

Start = Callable[..., Server]


def error_at(url: str, *arguments: str) -> str:
    outcome = run_at(url)(*(arguments or TRIM))
    assert outcome.code == 1
    return outcome.error


@pytest.mark.parametrize(
    "arguments",
    [
        ("--keep-last", "0"),
        ("--keep-last", "-3"),
        ("--keep-last", "many"),
        ("--keep-last", "1.5"),
        ("--keep-runs", "0"),
        ("--keep-within", "7"),
        ("--keep-within", "7y"),
        ("--keep-within", "0d"),
        ("--keep-within", "-7d"),
        ("--keep-within", "99999999999w"),
        ("--expire-threads-after", "soon"),
        ("--expire-waiting", "--keep-last", "1"),
        ("--keep-newest", "1"),
        ("--prefix", "", "--keep-last", "1"),
        ("--keys-per-call", "9", "--keep-last", "1"),
        ("--keys-per-call", "5001", "--keep-last", "1"),
    ],
)
def test_wrong_options(run: Run, stack: redis.Redis, arguments: tuple[str, ...]) -> None:
    fill(stack, "a", 3)
    outcome = run("trim", "a", "--json", *arguments)
    assert outcome.code == 2
    assert "redis-retention trim --help" in outcome.error
    assert len(documents(stack, "a")) == 3


@pytest.mark.parametrize(
    "arguments", [("trim",), ("plan",), ("plan", "a", "b", "--keep-last", "1"), ("trin", "a")]
)
def test_wrong_arguments(run: Run, arguments: tuple[str, ...]) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    assert "--help" in outcome.error


def test_no_command_at_all_shows_the_help() -> None:
    outcome = run_at(None)()
    assert (outcome.code, outcome.out) == (2, "")
    assert "Commands:" in outcome.err


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "http://localhost:6379",
        "redis://localhost:many/0",
        "redis://localhost:99999/0",
        "redis://localhost:0/0",
        "redis://localhost/first",
        "redis://:pass#word@localhost/0",
        "redis://[::1/0",
        "redis://localhost/0?db=first",
        "redis://localhost/0?colour=red",
    ],
)
def test_what_is_no_url(url: str) -> None:
    outcome = run_at(url)(*TRIM)
    assert outcome.code == 2
    assert "the URL of the server is wrong" in outcome.error
    assert "pass#word" not in outcome.error


def test_nobody_listens() -> None:
    port = free_port()
    begun = time.monotonic()
    error = error_at(f"redis://:secret@127.0.0.1:{port}/0")
    assert error == f"nothing listens at 127.0.0.1:{port}: start the server there, or check the URL"
    assert time.monotonic() - begun < 3


def test_unknown_host() -> None:
    error = error_at("redis://no-such-host.invalid/0")
    assert "host of no-such-host.invalid:6379 is unknown" in error


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_not_a_redis(reply: bytes) -> None:
    with listening(reply) as port:
        assert "is not a Redis server" in error_at(f"redis://127.0.0.1:{port}/0")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "closed the connection"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "TLS: the URL begins with rediss://"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "still loading its data"),
        (b"-MASTERDOWN Link with MASTER is down\r\n", "lost its primary"),
        (b"-ERR max number of clients reached\r\n", "has no connection left"),
        (b"-DENIED Redis is running in protected mode\r\n", "in protected mode"),
        (b"-ERR the unforeseen\r\n", "refuses: the unforeseen"),
    ],
)
def test_what_a_server_may_answer(reply: bytes, said: str) -> None:
    with listening(reply) as port:
        assert said in error_at(f"redis://127.0.0.1:{port}/0")


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "GREETING_SECONDS", 0.2)
    with listening(None) as port:
        assert "does not answer" in error_at(f"redis://127.0.0.1:{port}/0")


def test_tls_where_there_is_none(redis_stack: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(connection, "GREETING_SECONDS", 0.5)
    error = error_at(redis_stack.url.replace("redis://", "rediss://"))
    assert "speaks TLS, as rediss:// says" in error


def test_a_database_that_is_not_there(redis_stack: Server) -> None:
    assert "does not have the database" in error_at(redis_stack.url.replace("/0", "/99"))


def test_passwords(started: Start) -> None:
    server = started(config={"requirepass": "se/cret"})
    at = f"127.0.0.1:{server.port}/0"
    assert "wants a password" in error_at(f"redis://{at}")
    assert "refuses the user or the password" in error_at(f"redis://:wrong@{at}")
    assert "wrong" not in error_at(f"redis://:wrong@{at}")
    assert run_at(server.url)(*TRIM).json["threads"] == 1


def test_missing_permission(run: Run, stack: redis.Redis, redis_stack: Server) -> None:
    ids = fill(stack, "a", 3)
    stack.acl_setuser("app", enabled=True, passwords=["+pw"], categories=["+@all"],
                      commands=["-evalsha"], keys=["*"])  # fmt: skip
    try:
        url = redis_stack.url.replace("://", "://app:pw@")
        error = error_at(url)
        assert "lacks a permission" in error
        assert "evalsha" in error
        assert documents(stack, "a") == ids
    finally:
        stack.acl_deluser("app")


def test_a_key_of_another_type(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 3)
    stack.set("retention:index:checkpoint:a", "mine")
    assert "retention:index:checkpoint:a is not a zset of ours" in run(*TRIM).error
    stack.set("retention:policies:checkpoint", "mine")
    assert "--prefix" in run("trim", "a").error
    assert documents(stack, "a") == ids


def test_no_json_module(started: Start) -> None:
    server = started(modules=())
    assert "does not have RedisJSON" in error_at(server.url)
    assert "does not have RedisJSON" in error_at(server.url, "plan", "a", "--keep-last", "1")


def test_a_replica(started: Start) -> None:
    primary = started()
    ids = fill(primary.client(), "a", 3)
    replica = started(replica_of=primary)
    assert "read-only replica" in error_at(replica.url)
    plan = run_at(replica.url)("plan", "a", "--keep-last", "1", "--json").json
    assert plan["checkpoints_deleted"] == 2
    assert documents(primary.client(), "a") == ids


def test_full_memory(started: Start) -> None:
    server = started()
    client = server.client()
    fill(client, "a", 20)
    client.config_set("maxmemory", "1mb")
    assert "out of memory" in error_at(server.url, "policy", "set", "--keep-last", "1")
    assert run_at(server.url)(*TRIM).json["checkpoints_deleted"] == 19


def test_a_disk_that_cannot_be_written(started: Start) -> None:
    server = started()
    client = server.client()
    ids = fill(client, "a", 3)
    (server.folder / "dump.rdb").mkdir()
    client.config_set("save", "3600 1")
    with pytest.raises(redis.ResponseError):
        client.save()
    client.bgsave()
    while client.info("persistence")["rdb_bgsave_in_progress"]:
        time.sleep(0.02)
    assert "cannot save to its disk" in error_at(server.url)
    assert documents(client, "a") == ids
    server.kill()  # It would not go without having saved.


def test_a_cluster(started: Start) -> None:
    server = started(cluster=True)
    client: Any = server.cluster_client()
    fill(client, "{a}", 5)
    said = run_at(server.url)("trim", "{a}", "--keep-last", "1", "--json").json
    assert (said["checkpoints_deleted"], said["checkpoints_kept"]) == (4, 1)
    assert "hash tag, as in {customer-7}:chat" in error_at(server.url)
    assert run_at(server.url.replace("/0", "/1"))(*TRIM).code in (1, 2)
    client.disconnect_connection_pools()  # `close` leaves them open.


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from redis_retention.cli import main; main()", *arguments]


def test_a_bug_is_no_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redis_retention.cli.trim.retention", lambda _: 1 / 0)
    assert "this is a bug, please report it: ZeroDivisionError" in run(*TRIM).error


def test_ctrl_c_is_quiet() -> None:
    asked = threading.Event()
    with listening(None, asked) as port:
        command = program("--url", f"redis://127.0.0.1:{port}/0", *TRIM)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert asked.wait(PATIENCE)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_is_quiet(stack: redis.Redis, redis_stack: Server) -> None:
    fill(stack, "a", 3)
    for more in ([], ["--json"]):
        reading, writing = os.pipe()
        os.close(reading)
        command = program(
            "--url", redis_stack.url, "plan", "a", "--keep-last", "1", "--scan", *more
        )
        ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
        os.close(writing)
        assert (ended.returncode, ended.stderr) == (1, b"")


def test_an_id_that_the_output_has_no_characters_for(redis_stack: Server) -> None:
    environment = {
        **os.environ,
        "PYTHONIOENCODING": "ascii",
        "REDIS_RETENTION_URL": redis_stack.url,
    }
    command = program("plan", "ü", "--keep-last", "1")
    ended = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert ended.stdout == b"Thread \\xfc has no checkpoints.\n"


def test_a_command_loads_only_what_it_needs() -> None:
    code = (
        "import json, sys; from redis_retention.cli import main; "
        "sys.exit = lambda _: None; main(['trim', '--help']); "
        "print(json.dumps([name for name in sys.modules if '.' not in name]))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    loaded = set(json.loads(ended.stdout.splitlines()[-1]))
    assert not loaded & {"langgraph", "langchain_core", "fakeredis", "prometheus_client", "lupa"}
