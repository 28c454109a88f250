"""`redis-retention serve` and `run --http` as processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from redis_retention import Policy, Retention
from tests.cli.conftest import documents, fill, run_at
from tests.daemon.proxy import Proxy
from tests.daemon.service import PATIENCE, PROGRAM, ROOT, Service, eventually
from tests.servers.start import Server, free_port

TOKEN = "correct-horse-battery"
ANYWHERE = "127.0.0.1:0"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Site:
    """A service, and how to ask it."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.port: int = service.wait_for("serving the HTTP API")["port"]

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        token: str | None = None,
        host: str = "127.0.0.1",
    ) -> Answer:
        """Send a request whose target is taken as it is."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(host, self.port, timeout=PATIENCE)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, target, text, headers)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read().decode())
        finally:
            connection.close()

    def get(self, target: str, **options: Any) -> Answer:
        return self.ask("GET", target, **options)


Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts services; they are killed after the test."""
    with ExitStack() as running:

        def start(
            url: str,
            *arguments: str,
            command: str = "serve",
            environment: dict[str, str] | None = None,
        ) -> Site:
            options = ("--url", url, "--http", ANYWHERE, *arguments)
            service = Service(*options, command=command, environment=environment)
            return Site(running.enter_context(service))

        yield start


def error_of(*arguments: str) -> str:
    """The error line of a service that does not start."""
    outcome = run_at("redis://127.0.0.1:1/0")("serve", *arguments)
    assert outcome.code == 2
    return outcome.error


# --- starting and ending ----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_it_is_told_to_stop(
    serve: Serve, redis_stack: Server, stack: redis.Redis, number: signal.Signals
) -> None:
    site = serve(redis_stack.url)
    assert site.get("/readyz") == (200, site.get("/readyz").headers, "ok\n")
    # A connection that is kept open does not keep the process.
    with socket.create_connection(("127.0.0.1", site.port)):
        site.service.send(number)
        assert site.service.process.wait(PATIENCE) == 0
    assert site.service.said("stopped")


def test_a_sweep_is_ended_with_the_process(
    serve: Serve, redis_stack: Server, stack: redis.Redis
) -> None:
    for thread in "abcdef":
        fill(stack, thread, 5)
    with Proxy(redis_stack.port) as line:
        site = serve(line.url)
        line.slow(0.1)
        assert site.ask("POST", "/api/cleanup/all", {"policy": {"keep_last": 1}}).status == 202
        site.service.send(signal.SIGTERM)
        assert site.service.process.wait(PATIENCE) == 0
    assert "Traceback" not in site.service.output()


@pytest.mark.parametrize("address", ["0.0.0.0:8378", "[::]:8378", "192.0.2.1:8378", "example:8378"])
def test_others_are_served_with_a_token_only(address: str) -> None:
    assert "give a token, with --token-file or in REDIS_RETENTION_TOKEN" in error_of(
        "--http", address
    )


@pytest.mark.parametrize("address", ["8378", "localhost", ":8378", "a@localhost:1", "localhost:x"])
def test_what_is_no_address(address: str) -> None:
    assert "is not an address such as 127.0.0.1:8378" in error_of("--http", address)


@pytest.mark.parametrize("text", ["", " \n", "two words", "ü"])
def test_what_is_no_token(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    assert "one word of ASCII" in error_of("--token-file", str(path))


def test_a_token_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in error_of("--token-file", str(tmp_path / "nothing"))


def test_a_port_that_is_taken(redis_stack: Server) -> None:
    run = run_at(redis_stack.url)
    outcome = run("serve", "--http", f"127.0.0.1:{redis_stack.port}")
    assert outcome.code == 1
    assert "choose another port" in outcome.error


def test_a_server_that_is_not_there() -> None:
    outcome = run_at(f"redis://127.0.0.1:{free_port()}/0")("serve", "--http", ANYWHERE)
    assert outcome.code == 1
    assert "nothing listens" in outcome.error


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("fastapi", ("serve",), "http"),
        ("fastapi", ("run", "--keep-last", "1", "--http", ANYWHERE), "http"),
        ("uvicorn", ("run", "--keep-last", "1", "--metrics-port", "0"), "daemon"),
    ],
)
def test_packages_that_are_missing(
    redis_stack: Server,
    stack: redis.Redis,
    missing: str,
    command: tuple[str, ...],
    extra: str,
) -> None:
    # What is None there cannot be imported.
    program = f"import sys; sys.modules[{missing!r}] = None; " + PROGRAM[-1]
    done = subprocess.run(
        [*PROGRAM[:-1], program, *command, "--url", redis_stack.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 3,
        check=False,
    )
    assert done.returncode == 1
    assert f"pip install 'redis-retention[{extra}]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_metrics_need_no_more_than_their_extra(redis_stack: Server, stack: redis.Redis) -> None:
    program = "import sys; sys.modules['fastapi'] = sys.modules['pydantic'] = None; "
    code = program + "import redis_retention.http.probes, redis_retention.http.serving"
    done = subprocess.run([*PROGRAM[:-1], code], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


# --- the token ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["file", "environment"])
def test_the_token(
    serve: Serve, redis_stack: Server, stack: redis.Redis, tmp_path: Path, source: str
) -> None:
    if source == "file":
        (tmp_path / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
        arguments, environment = ["--token-file", str(tmp_path / "token")], None
    else:
        arguments, environment = [], {"REDIS_RETENTION_TOKEN": TOKEN}
    site = serve(redis_stack.url, "--http", "0.0.0.0:0", *arguments, environment=environment)
    assert site.get("/api/threads").status == 401
    assert site.get("/api/threads", token="wrong").status == 401
    assert site.get("/api/threads", token=TOKEN).status == 200
    assert site.get("/healthz").status == 200
    assert TOKEN not in site.service.output()


# --- paths --------------------------------------------------------------------------------------


def test_ids_byte_for_byte(serve: Serve, redis_stack: Server, stack: redis.Redis) -> None:
    site = serve(redis_stack.url)
    for segment, thread in (
        ("a%2Fb", b"a/b"),
        ("c%2fd", b"c/d"),
        ("%2F%2F", b"//"),
        ("%2E%2E", b".."),
        (".", b"."),
        ("%FF%00", b"\xff\0"),
        ("%25", b"%"),
        ("a%3Fb", b"a?b"),
        ("%C3%BC", "ü".encode()),
    ):
        Retention(stack).pin(thread, note=segment)
        answer = site.get(f"/api/threads/{segment}/pins")
        assert [pin["note"] for pin in answer.json["pins"]] == [segment]


def test_a_target_that_no_browser_sends(
    serve: Serve, redis_stack: Server, stack: redis.Redis
) -> None:
    site = serve(redis_stack.url)
    for target in (b"/api/threads/\xff/pins", b"/api/threads/a b/pins", b"*", b"//", b""):
        with socket.create_connection(("127.0.0.1", site.port), PATIENCE) as connection:
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            status = connection.makefile("rb").readline().split(b" ")[1:2]
        assert status in ([], [b"400"], [b"404"], [b"307"]), (target, status)
    assert site.get("/healthz").status == 200
    assert "Traceback" not in site.service.output()


# --- the server ---------------------------------------------------------------------------------


def test_the_server_goes_away_and_comes_back(
    serve: Serve, redis_stack: Server, stack: redis.Redis
) -> None:
    with Proxy(redis_stack.port) as line:
        site = serve(line.url)
        assert site.get("/readyz").status == 200
        line.cut()
        answer = site.get("/api/threads")
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert f"127.0.0.1:{line.port}" in answer.json["detail"]
        assert site.get("/readyz").status == 503
        assert site.get("/healthz").status == 200
        line.mend()
        eventually(lambda: site.get("/readyz").status == 200)
        assert site.get("/api/threads").status == 200


def test_no_secret_is_told(serve: Serve, started: Callable[..., Server]) -> None:
    server = started(config={"requirepass": "swordfish"})
    with Proxy(server.port) as line:
        url = f"redis://:swordfish@127.0.0.1:{line.port}/0"
        environment = {"REDIS_RETENTION_TOKEN": TOKEN}
        site = serve(url, environment=environment)
        assert site.get("/api/threads", token=TOKEN).status == 200
        line.cut()
        answer = site.get("/api/threads/secret-id/plan?keep_last=1", token=TOKEN)
        assert answer.status == 503
        assert "swordfish" not in answer.text
    site.service.send(signal.SIGTERM)
    site.service.process.wait(PATIENCE)
    for secret in ("swordfish", TOKEN, "secret-id"):
        assert secret not in site.service.output()


# --- beside the daemon --------------------------------------------------------------------------


@pytest.fixture
def daemon(serve: Serve, redis_stack: Server, stack: redis.Redis) -> Site:
    """A daemon with the API."""
    options = ("--keep-last", "10", "--trigger", "30", "--metrics-port", "0")
    site = serve(redis_stack.url, *options, command="run")
    site.service.wait_for("ready: listening")
    site.service.wait_for("swept")
    return site


def test_health_tells_what_the_daemon_does(daemon: Site) -> None:
    eventually(lambda: daemon.get("/api/health").json["daemon"]["next_sweep"] is not None)
    said = daemon.get("/api/health").json
    assert (said["healthy"], said["ready"], said["read_only"]) == (True, True, False)
    assert said["daemon"]["listening"] is True
    assert said["daemon"]["last_sweep"] < said["daemon"]["next_sweep"]
    assert said["daemon"]["counters"]["sweeps"] >= 1


def test_the_metrics_are_those_of_the_other_port(daemon: Site) -> None:
    port = daemon.service.wait_for("serving metrics")["port"]

    def names(of: int) -> list[str]:
        connection = http.client.HTTPConnection("127.0.0.1", of, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return [line.split(" ")[0].split("{")[0] for line in text.splitlines()]

    assert names(port) == names(daemon.port)


def test_a_policy_that_is_stored_counts_at_once(daemon: Site, stack: redis.Redis) -> None:
    stored = {"policy": {"keep_last": 2}, "trigger": 3}
    assert daemon.ask("PUT", "/api/policies/vip-*", stored).status == 200
    daemon.service.wait_for("policies changed")
    fill(stack, "vip-a", 4)
    eventually(lambda: len(documents(stack, "vip-a")) <= 3)


def test_a_request_and_the_daemon_keep_by_the_same_rules(daemon: Site, stack: redis.Redis) -> None:
    Retention(stack).set_policy(Policy(keep_last=15), "vip-*")
    Retention(stack).set_policy(Policy(keep_last=1))
    for thread, kept in (("a", 10), ("vip-a", 15)):
        fill(stack, thread, 20)
        answer = daemon.ask("POST", f"/api/cleanup/thread/{thread}", {})
        assert answer.json["checkpoints_kept"] == kept


def test_a_sweep_that_is_asked_for_is_not_beside_that_of_the_daemon(
    daemon: Site, stack: redis.Redis
) -> None:
    stack.set("retention:lease:sweep:checkpoint", "the daemon", px=60_000)
    assert daemon.ask("POST", "/api/cleanup/all", {}).status == 409


def test_the_daemon_ends_as_quickly_as_without(daemon: Site) -> None:
    with socket.create_connection(("127.0.0.1", daemon.port)):
        assert daemon.service.stop() == 0
    assert daemon.service.said("stopped")
    assert "Traceback" not in daemon.service.output()


def test_read_only_beside_the_daemon(serve: Serve, redis_stack: Server, stack: redis.Redis) -> None:
    site = serve(redis_stack.url, "--keep-last", "9", "--read-only", command="run")
    assert site.ask("POST", "/api/cleanup/all", {}).status == 403
    assert site.get("/api/health").json["read_only"] is True


def test_names_that_are_allowed(serve: Serve, redis_stack: Server, stack: redis.Redis) -> None:
    site = serve(redis_stack.url, "--allow-host", "ops.example, other.example")
    for host, status in (("ops.example", 200), ("localhost", 200), ("evil.example", 403)):
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
        connection.request("GET", "/api/threads", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()


def test_a_policy_that_is_read_again_counts_for_requests(
    serve: Serve, redis_stack: Server, stack: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "options.toml"
    path.write_text("keep-last = 9", encoding="utf-8")
    site = serve(redis_stack.url, "--config", os.fspath(path), command="run")
    site.service.wait_for("swept")
    path.write_text("keep-last = 3", encoding="utf-8")
    site.service.send(signal.SIGHUP)
    site.service.wait_for("policies changed")
    fill(stack, "a", 5)
    assert site.ask("POST", "/api/cleanup/thread/a", {}).json["checkpoints_kept"] == 3
