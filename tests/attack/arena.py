"""What every attack has: victims, somebody who measures, and what must be true afterwards."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import redis
from click.testing import CliRunner
from redis.exceptions import RedisError

from redis_retention.cli import main
from tests.daemon.service import PROGRAM, ROOT
from tests.integration.threads import fill_fast
from tests.integration.watching import snapshot
from tests.model.rules import Must, Policy, ThreadDecision, boundary_complaints, complaints, decide
from tests.model.snapshot import Database, Entry, read_database
from tests.servers.start import Server

KEEP = 5
CHECKPOINTS = 20
VICTIMS = ("victim", "user:1", "victim*", "\u00e9 x")
"""Threads as applications have them; what happens to these is decided by the rules."""
PATIENCE = 120.0
"""Seconds for a program that takes a second."""
OTHERS = {b"store:victim": b"memory", b"user": b"somebody", b"checkpointer": b"not ours"}
"""Keys of other programs."""


class Broken(AssertionError):
    """An attack has had an effect that it may not have."""


@dataclass
class Arena:
    """A server with some threads on it, which an attack may do to what it likes."""

    server: Server
    seed: int
    policy: Policy = field(default_factory=lambda: Policy(keep_last=KEEP))
    longest: float = 0.0
    """Seconds for which the server has answered nobody, at most."""
    halfway: bool = False
    """At the last look there was something left to delete."""
    said: list[str] = field(default_factory=list)
    """What our programs have complained of."""

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.client: redis.Redis = self.server.client(socket_timeout=PATIENCE)

    def prepare(self, checkpoints: int = CHECKPOINTS, threads: tuple[str, ...] = VICTIMS) -> None:
        """An empty database with the victims, each with a straight line of checkpoints."""
        self.client.flushall()
        self.victims = threads
        for thread in threads:
            fill_fast(self.client, thread, checkpoints, writes=2)
        for key, value in OTHERS.items():
            self.client.set(key, value)
        database = read_database(self.client)
        self.decisions = [decide(database, t, self.policy, time.time()) for t in threads]
        self.before = self.look()

    def close(self) -> None:
        self.client.close()

    # --- our programs ----------------------------------------------------------------------

    def begin(self, *arguments: str, url: str | None = None) -> subprocess.Popen[bytes]:
        """Start one of our programs."""
        return subprocess.Popen(
            [*PROGRAM, "--url", url or self.server.url, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def end(self, program: subprocess.Popen[bytes], *, killed: bool = False) -> int:
        """Wait for its end, and see what it has said."""
        try:
            out, _ = program.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()
            program.communicate()
            raise Broken(f"{program.args!r} did not come to an end") from None
        code = 0 if killed else program.returncode
        return self._heard(str(program.args), code, out.decode(errors="replace"))

    def _heard(self, what: str, code: int, said: str) -> int:
        if "Traceback" in said or "this is a bug" in said or code not in (0, 1):
            raise Broken(f"{what[-300:]} has ended with {code}: {said[-1000:]}")
        if code == 1:
            self.said += [line for line in said.splitlines() if line.startswith("error:")]
        return code

    def run(self, *arguments: str, url: str | None = None) -> int:
        """Run one of our programs in this process, which takes less time to start."""
        runner = CliRunner(env={"REDIS_RETENTION_URL": url or self.server.url})
        result = runner.invoke(main, arguments, prog_name="redis-retention")
        if not isinstance(result.exception, SystemExit | None):
            raise Broken(f"{arguments!r} has raised {result.exception!r}") from result.exception
        return self._heard(str(arguments), result.exit_code, result.output)

    @property
    def policies(self) -> list[str]:
        return ["--keep-last", str(self.policy.keep_last)]

    def trim(self, *threads: str, **options: Any) -> int:
        return self.run("trim", *self.policies, "--", *(threads or self.victims), **options)

    def sweep(self, *arguments: str, **options: Any) -> int:
        return self.run("sweep", *self.policies, *arguments, **options)

    # --- what must be true -----------------------------------------------------------------

    def look(self) -> Database:
        """The values of all keys of the victims and of other programs."""
        names = {key for decision in self.decisions for key in decision.keys} | OTHERS.keys()
        return values(self.client, names)

    def decided(self) -> Iterator[ThreadDecision]:
        together = {k: v for decision in self.decisions for k, v in decision.keys.items()}
        return (replace(decision, keys=together) for decision in self.decisions)

    def check(self) -> None:
        """Nothing that the rules retain is missing, and no reader finds a half of anything."""
        after = self.look()
        self.halfway = any(one.that(Must.DELETE) & after.keys() for one in self.decisions)
        self._refuse(
            [
                line
                for one in self.decided()
                for line in boundary_complaints(self.before, after, one)
            ]
        )

    def check_in_order(self) -> None:
        """Nobody writes any more: after two sweeps the threads are exactly what the rules say."""
        for _ in range(2):
            if self.sweep("--grace", "0s") != 0:
                raise Broken(f"the last sweep has failed: {self.said[-1:]}")
        after = self.look()
        self._refuse(
            [line for one in self.decided() for line in complaints(self.before, after, one)]
        )

    def _refuse(self, wrong: list[str]) -> None:
        if wrong:
            some = sorted(set(wrong))
            raise Broken(f"{len(some)} complaints: {some[:5]}")

    # --- measuring -------------------------------------------------------------------------

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Notes how long the server has answered nobody, while the block runs."""
        end = threading.Event()
        meter = threading.Thread(target=self._measure, args=(end,), daemon=True)
        meter.start()
        try:
            yield
        finally:
            end.set()
            meter.join()

    def _measure(self, end: threading.Event) -> None:
        with self.server.client(socket_timeout=PATIENCE) as client:
            while not end.is_set():
                begun = time.perf_counter()
                try:
                    client.ping()
                except RedisError:  # It is being restarted, or our connection was cut.
                    time.sleep(0.05)
                else:
                    self.longest = max(self.longest, time.perf_counter() - begun)
                time.sleep(0.001)


def values(client: redis.Redis, names: set[bytes]) -> Database:
    """Those of the keys that are there, each with all that can be compared about it."""
    ordered = sorted(names)
    plain = redis.Redis(connection_pool=client.connection_pool)
    with plain.pipeline(transaction=False) as queue:
        pipeline: Any = queue
        for name in ordered:
            pipeline.dump(name)
            pipeline.pexpiretime(name)
        replies = pipeline.execute()
    found = zip(ordered, replies[::2], replies[1::2], strict=True)
    return {name: Entry("dump", dump, expires) for name, dump, expires in found if dump is not None}


def everything(client: redis.Redis) -> dict[bytes, bytes]:
    """All values that are not ours."""
    found = snapshot(client)
    return {key: dump for key, (dump, _) in found.items() if not key.startswith(b"retention:")}


@dataclass(frozen=True)
class Attack:
    """One way to break it: a round arranges something, acts, and checks."""

    name: str
    asked: str
    """What had to hold beside the rules, in a few words for a table."""
    round: Callable[[Arena], None]
    config: tuple[tuple[str, str], ...] = ()
    """Lines of redis.conf that it needs."""
    rounds: int = 20
    """At full scale."""
    disruptive: bool = False
    """It stops the server or what others do on it."""

    def __str__(self) -> str:
        return self.name
