"""Start real servers on free loopback ports, each in a temporary folder of its own.

For example::

    with Server("redis-8", config={"maxmemory": "64mb"}) as server:
        server.client().ping()

No server outlives the program that started it, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.servers.fetch import RECIPES, Installation, fetch

# Below the range the kernel takes outgoing ports from: nobody gets the port of a server which
# is being restarted, and a client polling for a server cannot be connected to itself.
PORTS = range(20000, 32000)
MODULE_ARGUMENTS = {"redisearch": "MAXSEARCHRESULTS 10000"}
EMPTY = '""'
READY_SECONDS = 30.0
STOP_SECONDS = 15.0
LOG_LINES = 10
ATTEMPTS = 5

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

# The kernel sends the death signal when the *thread* that started the server ends, so this
# thread, which lives as long as the program, starts them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="server-starter")


class ServerFailed(Exception):
    """A server did not start, or did not become ready; the message ends with its log."""


class _PortTaken(ServerFailed):
    pass


@dataclass(eq=False)
class Server:
    """A server as a context manager; `start()` and `close()` do the same by hand.

    `modules` defaults to all that the server can load: search and JSON, or JSON only on
    ``redis-7.0``. `config` has lines of redis.conf, the value as it would stand there. With
    `cluster` it is the only node of a cluster and has all the slots. `stop()` and `kill()`
    keep the data folder, so that `restart()` finds what was saved there.
    """

    name: str = "redis-stack"
    modules: Sequence[str] | None = field(default=None, kw_only=True)
    config: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    cluster: bool = field(default=False, kw_only=True)
    replica_of: Server | None = field(default=None, kw_only=True)
    cache: Path | None = field(default=None, kw_only=True)
    version: str = field(default="", init=False)
    port: int = field(default=0, init=False)
    _log_start: int = field(default=0, init=False, repr=False)
    _cluster_port: int = field(default=0, init=False, repr=False)
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _installation: Installation = field(init=False, repr=False)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The address for `redis.from_url`, with the password if `config` sets one."""
        login = f":{quote(self._password, safe='')}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def has_search(self) -> bool:
        """Whether the server was asked to load the search module."""
        return "redisearch" in self._module_names

    @property
    def folder(self) -> Path:
        """The data folder, in which the log is ``server.log``."""
        if self._folder is None:
            raise RuntimeError(f"{self.name} has not been started")
        return Path(self._folder.name)

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def client(self, **options: Any) -> Redis:
        """A new client; `options` are those of `redis.Redis`."""
        return Redis.from_url(self.url, **options)

    def cluster_client(self, **options: Any) -> RedisCluster:
        """A new cluster client, for a server with `cluster`."""
        return RedisCluster.from_url(self.url, **options)

    def start(self) -> Server:
        """Start the server on a free port, and return it when it is ready."""
        if self.running:
            raise RuntimeError(f"{self.name} is running already")
        self.close()  # Of a stopped server only the folder is left.
        self._installation = fetch(self.name, self.cache)
        self.version = self._installation.version
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-")
        atexit.register(self.close)
        try:
            self._write_config()
            self._launch_on_free_port()
        except BaseException:
            self.close()
            raise
        return self

    def stop(self) -> None:
        """Shut the server down in good order; its data folder stays."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server as a crash would; its data folder stays."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server if it runs, and start it again on the same port and data folder."""
        self.stop()
        self._launch()

    def close(self) -> None:
        """Stop the server and remove its data folder."""
        atexit.unregister(self.close)
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def _label(self) -> str:
        return f"{self.name} on port {self.port}"

    @property
    def _password(self) -> str:
        return self.config.get("requirepass", "").strip('"')

    @property
    def _module_names(self) -> Sequence[str]:
        return RECIPES[self.name].modules if self.modules is None else self.modules

    def _write_config(self) -> None:
        settings = {"bind": "127.0.0.1", "save": "", "appendonly": "no"}
        # RedisJSON's documents cannot be freed beside the main thread, which Valkey does when it
        # is flushed if not told otherwise: every few hundred flushes it dies of it.
        settings["lazyfree-lazy-user-flush"] = "no"
        # A primary would wait 5 seconds for more replicas before it serves the first.
        settings["repl-diskless-sync-delay"] = "0"
        if self.cluster:
            settings |= {"cluster-enabled": "yes", "cluster-announce-ip": "127.0.0.1"}
        if self.replica_of is not None:
            settings["replicaof"] = f"127.0.0.1 {self.replica_of.port}"
            settings["masterauth"] = self.replica_of.config.get("requirepass", "")
        settings |= self.config
        lines = [f"{key} {value or EMPTY}" for key, value in settings.items()]
        lines += [self._module_line(module) for module in self._module_names]
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")

    def _module_line(self, module: str) -> str:
        path = self._installation.modules.get(module)
        if path is None:
            raise ServerFailed(f"{self.name} cannot load the module {module}.")
        return f'loadmodule "{path}" {MODULE_ARGUMENTS.get(module, "")}'.rstrip()

    def _launch_on_free_port(self) -> None:
        attempts_left = ATTEMPTS
        while True:
            self.port, self._cluster_port = free_port(), free_port()
            attempts_left -= 1
            try:
                self._launch()
            except _PortTaken:
                if not attempts_left:
                    raise
            else:
                return

    def _launch(self) -> None:
        command = [*self._installation.command, "redis.conf", "--port", str(self.port)]
        if self.cluster:
            command += ["--cluster-port", str(self._cluster_port)]
        environment = {**os.environ, **self._installation.environment}
        # Appended to, so that a restart keeps the old log.
        with (self.folder / "server.log").open("ab") as log:
            self._log_start = log.tell()
            self._process = _starter.submit(
                subprocess.Popen,
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the tests; they end the server themselves.
                start_new_session=True,
                preexec_fn=_die_with_starter,
            ).result()
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self._wait_for("an answer", self._answers)
        if self.cluster:
            self._wait_for("the cluster", self._cluster_is_up)
        if self.replica_of is not None:
            self._wait_for("the link to its primary", self._is_in_sync)

    def _wait_for(self, what: str, is_there: Callable[[Any], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        problem = "it is not there"
        while time.monotonic() < deadline:
            self._check_alive()
            try:
                with self.client(socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
                    if is_there(client):
                        return
            except RedisError as error:
                problem = str(error)
            time.sleep(0.02)
        raise ServerFailed(f"{self._label} waited in vain for {what}: {problem}. {self.log_end()}")

    def _check_alive(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            end = self.log_end()
            failure = _PortTaken if "Address already in use" in end else ServerFailed
            code = self._process.returncode
            raise failure(f"{self._label} ended with code {code} while it was starting. {end}")

    def _answers(self, client: Any) -> bool:
        client.ping()
        # Another program's server might have the port, while this one is about to fail for it.
        running = client.info("server")["process_id"]
        return self._process is not None and bool(running == self._process.pid)

    def _cluster_is_up(self, client: Any) -> bool:
        info = client.execute_command("CLUSTER INFO")
        if info["cluster_slots_assigned"] == "0":
            client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        return bool(info["cluster_state"] == "ok")

    def _is_in_sync(self, client: Any) -> bool:
        return bool(client.info("replication")["master_link_status"] == "up")

    def log_end(self, most: int = LOG_LINES) -> str:
        """What the server has written last, since it was started."""
        with (self.folder / "server.log").open("rb") as log:
            log.seek(self._log_start)
            lines = log.read().decode(errors="replace").splitlines()
        return "\n".join(["The end of its log:", *lines[-most:]])

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A loopback port which nobody listens on at this moment."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _die_with_starter() -> None:
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
