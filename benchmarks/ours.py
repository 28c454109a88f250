"""Every call of redis-retention that is measured, as a user makes it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import get_args

import redis

from benchmarks.measure import memory_of
from benchmarks.scale import KEEP
from redis_retention import LookIn, Policy, Retention, Rule
from redis_retention.engine import DEFAULT_KEYS_PER_CALL, Engine
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport

POLICY = Policy(keep_last=KEEP)


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep in a process of its own did.

    Attributes:
        checkpoints_deleted: Documents that are gone.
        memory_mb: Memory of the process at its peak, beyond what it had when it began.
    """

    checkpoints_deleted: int
    memory_mb: float


def index(client: redis.Redis, documents: list[bytes], thread: str) -> None:
    """Let a thread be known, as one is that the daemon follows; nothing is deleted."""
    engine = Engine()
    Transport(client).run(engine.index(thread.encode(), dict.fromkeys(documents, 0)))


def load_scripts(client: redis.Redis) -> None:
    """Let the server know the scripts, as it does from the first call on."""
    for look_in in get_args(LookIn):
        Retention(client).trim("nobody", POLICY, look_in=look_in)


def trim_indexed(
    client: redis.Redis, thread: str, keys_per_call: int = DEFAULT_KEYS_PER_CALL
) -> None:
    """Trim a thread that is known."""
    Retention(client, keys_per_call=keys_per_call).trim(thread, POLICY, indexed_only=True)


def trim(client: redis.Redis, thread: str) -> None:
    """Trim a thread as whoever says nothing else: what is not known is searched for."""
    Retention(client).trim(thread, POLICY)


def trim_by_scan(client: redis.Redis, thread: str) -> None:
    """Trim a thread that is looked for in the whole database, as it must be without RediSearch."""
    Retention(client).trim(thread, POLICY, look_in="scan")


def sweep(client: redis.Redis) -> int:
    """Trim all threads; the documents that are gone."""
    rules = [Rule(b"*", POLICY, KEEP)]
    return Transport(client).run(Sweeper(Engine(), rules).steps()).checkpoints_deleted


class Apart:
    """A process of its own that sweeps, as a context manager; it is there before it has to."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"))

    def __enter__(self) -> Apart:
        self._pool.submit(memory_of).result()
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def sweep(self) -> Swept:
        """Sweep, and say what memory that took."""
        return self._pool.submit(_sweep_and_weigh, self._url).result()


def _sweep_and_weigh(url: str) -> Swept:
    with redis.Redis.from_url(url, socket_timeout=600) as client:
        trim_indexed(client, "nobody")
        before, _ = memory_of()
        deleted = sweep(client)
        _, most = memory_of()
    return Swept(deleted, max(most - before, 0.0))
