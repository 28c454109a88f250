"""Whatever is changed while the daemon awaits a reply, it neither ends nor gets stuck.

The awaits are those of the listener, of the sweeper and its lease, and of who reads the stored
policies again.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis

from redis_retention import Policy, Retention, lease
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import LangGraphRedis
from redis_retention.policies import Policies
from redis_retention.service import sweeping
from redis_retention.service.daemon import Daemon
from redis_retention.service.rules import Options
from redis_retention.service.schedule import Schedule
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport
from tests.daemon.interfering import Interfered
from tests.daemon.service import PATIENCE, eventually
from tests.daemon.writers import Writer, ids
from tests.servers.start import Server

KEEP, TRIGGER = 2, 6
POLICY = Policy(keep_last=KEEP)
RULE = Rule(b"*", POLICY, TRIGGER)
INDEX, PINS = "retention:index:checkpoint:", "retention:pins:checkpoint:"
STORED = "retention:policies:checkpoint"
_QUIET_SECONDS = 0.3


class Meddler:
    """Does something once, at an await that is chosen beforehand."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: int | None = None
        self._deed: Callable[[], object] = lambda: None
        self._last = time.monotonic()
        self.done = False

    def arm(self, at: int, deed: Callable[[], object]) -> None:
        with self._lock:
            self._left, self._deed, self._last = at, deed, time.monotonic()
            self.done = False

    def between(self) -> None:
        with self._lock:
            self._last = time.monotonic()
            if self._left is None:
                return
            self._left -= 1
            if self._left >= 0:
                return
            self._left, deed = None, self._deed
        deed()
        self.done = True

    @property
    def quiet(self) -> bool:
        """Whether there was no await for a while."""
        return time.monotonic() - self._last > _QUIET_SECONDS


class Meddled:
    """A daemon in this process, and what can be done to it and its threads."""

    def __init__(self, daemon: Daemon, client: redis.Redis) -> None:
        self.daemon = daemon
        self.client = client
        self.saver = Writer(client, []).saver
        self._writer = Writer(client, [])
        self._loop = asyncio.get_running_loop()

    @property
    def idle(self) -> bool:
        """Whether the daemon has nothing to do."""
        sweeper = self.daemon._sweeper
        assert sweeper is not None
        wanted = sweeper._asked or sweeper._wanted or self.daemon.activity.sweep_running
        return not wanted and not self.daemon.waiting

    def reload(self) -> None:
        """As SIGHUP does: the policies are read again."""
        self._loop.call_soon_threadsafe(self.daemon._reload)

    def use(self, *rules: Rule) -> None:
        store(self.client, *rules)
        self.reload()

    def spoil(self, policies: str) -> None:
        self.client.hset(STORED, "*", policies)
        self.reload()

    def write(self, thread: str) -> str:
        """Begin a thread, far enough for a trim, and return the id of its newest checkpoint."""
        self._writer.written[thread] = []
        for _ in range(TRIGGER + 2):
            self._writer.step(thread)
        return self._writer.written[thread][-1]

    def document(self, thread: str) -> str:
        """The oldest checkpoint's, if its writer does not touch it again, else of none."""
        names = sorted(self.client.scan_iter(f"checkpoint:{thread}:*", count=1000))
        return names[0].decode() if len(names) > 1 else f"checkpoint:{thread}:none"

    async def restore(self, thread: str) -> None:
        names = list(self.client.scan_iter(f"*:{thread}:*", count=1000))
        self.client.delete(INDEX + thread, PINS + thread, *names)
        self.use(RULE)
        await until(lambda: self.daemon._rules.current == [RULE])


def store(client: redis.Redis, *rules: Rule) -> None:
    client.delete(STORED)
    for rule in rules:
        Transport(client).run(Policies(LangGraphRedis()).set(rule))


CHANGES: dict[str, Callable[[Meddled, str], object]] = {
    "all policies are removed": lambda it, thread: it.use(),
    "another thread's policy is left": lambda it, thread: it.use(Rule(b"x", POLICY, TRIGGER)),
    "the policy is stricter": lambda it, thread: it.use(Rule(b"*", Policy(keep_last=1), 1)),
    "the policy cannot be read": lambda it, thread: it.spoil("{"),
    "the thread is pinned": lambda it, thread: Retention(it.client).pin(thread),
    "its pins are something else": lambda it, thread: it.client.set(PINS + thread, "x"),
    "its index is gone": lambda it, thread: it.client.delete(INDEX + thread),
    "its index is something else": lambda it, thread: it.client.set(INDEX + thread, "x"),
    "the thread is deleted": lambda it, thread: it.saver.delete_thread(thread),
    "a document is something else": lambda it, thread: it.client.set(it.document(thread), "x"),
    "a document says nothing": lambda it, thread: it.client.json().set(
        it.document(thread), "$", {"thread_id": thread}
    ),
    "the scripts are gone": lambda it, thread: it.client.script_flush(),
}


@asynccontextmanager
async def meddled(server: Server, meddler: Meddler) -> AsyncIterator[Meddled]:
    client = Interfered(host="127.0.0.1", port=server.port)
    client.between = meddler.between
    # So few that a trim takes several calls.
    engine = Engine(keys_per_call=10, grace_ms=0)
    with server.client() as plain:
        store(plain, RULE)
    daemon = Daemon(
        client,
        engine,
        Options(schedule=Schedule()),
        lambda rules, _: Sweeper(engine, rules).sweep(),
    )
    running = asyncio.create_task(daemon.run())
    try:
        await until(lambda: daemon.activity.listening or running.done())
        yield Meddled(daemon, server.client())
        assert not running.done()
    finally:
        daemon._stop.set()
        await asyncio.wait_for(running, PATIENCE)


async def until(fulfilled: Callable[[], bool], explain: Callable[[], object] = lambda: "") -> None:
    await asyncio.to_thread(eventually, fulfilled, explain)


@pytest.mark.parametrize("change", CHANGES)
async def test_whatever_changes_at_any_await_the_daemon_goes_on(
    redis_stack: Server, stack: redis.Redis, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(sweeping, "_SHORTEST_REST_SECONDS", 0.0)
    # A lease stays until it expires if the script that gives it back is lost at that moment.
    monkeypatch.setattr(lease, "LEASE_SECONDS", 3.0)
    meddler = Meddler()
    async with meddled(redis_stack, meddler) as it:
        for at in itertools.count():
            thread = f"thread-{at}"
            meddler.arm(at, lambda name=thread: CHANGES[change](it, name))  # type: ignore[misc]
            await asyncio.to_thread(it.write, thread)
            it.daemon._ask_for_sweep("a test wants it")
            it.reload()
            await until(lambda: meddler.done or (it.idle and meddler.quiet))
            if not meddler.done:
                break
            await it.restore(thread)
            await assert_works(it, f"after-{at}")
    # A call or two of the listener, the pages of a sweep and its trims, the policies.
    assert at > 15


async def assert_works(it: Meddled, thread: str) -> None:
    """The daemon listens and sweeps."""
    swept = it.daemon.activity.sweeps.get("done", 0)
    newest = await asyncio.to_thread(it.write, thread)
    it.daemon._ask_for_sweep("a test wants it")
    await until(lambda: len(ids(it.client, thread)) <= TRIGGER, lambda: it.daemon.activity)
    await until(
        lambda: it.daemon.activity.sweeps.get("done", 0) > swept, lambda: it.daemon.activity
    )
    # A sweep by the policy that was stricter may still have been under way.
    assert ids(it.client, thread)[-1:] == [newest]
