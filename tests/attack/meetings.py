"""What our programs can meet: a writer at work, each other, a search index that comes and goes."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any

import redis
from langgraph.checkpoint.redis import RedisSaver
from redis.exceptions import RedisError

from redis_retention.langgraph import RetentionRedisSaver
from tests.attack.arena import CHECKPOINTS, KEEP, PATIENCE, Arena, Attack, Broken, everything
from tests.attack.mishaps import CROWD, SMALL, again_and_again, begun
from tests.cli.conftest import documents
from tests.daemon.proxy import Proxy
from tests.daemon.writers import Writer, ids
from tests.integration.threads import place

BUSY = ["busy", "busy:1"]
"""Threads that a real saver goes on writing."""


def trimmed_twice(arena: Arena) -> None:
    """Two processes trim the same threads in small calls, and their writer does not wait."""
    arena.prepare()
    writer = Writer(arena.server.client(), BUSY)
    writer.write(CHECKPOINTS)
    names = [*BUSY, *arena.victims]
    with arena.measured():
        programs = [arena.begin("trim", *arena.policies, *SMALL, "--", *names) for _ in range(2)]
        deadline = time.monotonic() + PATIENCE
        while any(one.poll() is None for one in programs) and time.monotonic() < deadline:
            writer.write(1)
        for program in programs:
            arena.end(program)
    _check_written(arena, writer)
    arena.check()
    arena.check_in_order()
    for name in BUSY:
        if ids(arena.client, name) != writer.newest(name, KEEP):
            raise Broken(f"not the newest of {name} are left: {ids(arena.client, name)}")


def _check_written(arena: Arena, writer: Writer) -> None:
    for name in writer.names:
        writer.assert_state(name)
        missing = set(writer.newest(name, KEEP)) - set(ids(arena.client, name))
        if missing:
            raise Broken(f"of the newest of {name} these are gone: {missing}")


def search_index_dropped(arena: Arena) -> None:
    """The saver's search indexes are dropped and made again, again and again."""
    arena.prepare(threads=CROWD)
    saver = RedisSaver(redis_client=arena.client)
    saver.setup()

    def drop() -> None:
        for name in ("checkpoint", "checkpoint_write"):
            with suppress(RedisError):
                arena.client.execute_command("FT.DROPINDEX", name)  # type: ignore[no-untyped-call]
        if arena.random.random() < 0.5:
            saver.setup()

    with arena.measured():
        again_and_again(arena, begun(arena, "trim"), drop)
    drop()
    arena.check()
    arena.check_in_order()


def saver_cut_off(arena: Arena) -> None:
    """The line is cut while a saver prunes or copies; done again, it has done all of it."""
    arena.prepare()
    source = arena.random.choice(arena.victims)
    with Proxy(arena.server.port) as proxy, arena.measured():
        client = redis.Redis.from_url(proxy.url, socket_timeout=PATIENCE)
        saver = RetentionRedisSaver(redis_client=client, keys_per_call=10)
        saver.setup()
        kind = arena.random.choice(("prune", "copy"))
        proxy.slow(0.001)
        cutting = _Cut(proxy, arena.random.random() * 0.2)
        with suppress(RedisError), cutting:
            _use(saver, kind, source)
        client.close()
    arena.check()
    again = RetentionRedisSaver(redis_client=arena.client)
    again.setup()
    _use(again, kind, source)
    if kind == "copy":
        _check_copy(arena, again, source)
        again.delete_thread("copied")
    arena.check()
    arena.check_in_order()


class _Cut:
    """Cuts the line after some time, from another thread."""

    def __init__(self, proxy: Proxy, seconds: float) -> None:
        self._timer = threading.Timer(seconds, proxy.cut)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.join()


def _use(saver: RetentionRedisSaver, kind: str, source: str) -> None:
    if kind == "prune":
        saver.prune([source], keep_last=KEEP)
    else:
        saver.copy_thread(source, "copied")


def _check_copy(arena: Arena, saver: RetentionRedisSaver, source: str) -> None:
    """Each checkpoint of the copy reads as its original."""
    names = documents(arena.client, source)
    if documents(arena.client, "copied") != names:
        raise Broken("a copy that was begun twice is not whole")
    for name in names:
        found = [saver.get_tuple(place(t, checkpoint_id=name)) for t in (source, "copied")]
        one, other = [(x.checkpoint, x.metadata, x.pending_writes) if x else None for x in found]
        if one != other:
            raise Broken(f"checkpoint {name} reads differently in the copy")


def pinned_thousandfold(arena: Arena) -> None:
    """More pins in a thread than a call can read keep all of it, and hold nobody up."""
    arena.prepare()
    thread = arena.victims[0]
    pins: dict[Any, Any] = {f"\0{number:032}": "" for number in range(20_000)}
    with arena.client.pipeline(transaction=False) as pipeline:
        for number in range(0, 20_000, 1_000):
            some = dict(list(pins.items())[number : number + 1_000])
            pipeline.hset(f"retention:pins:checkpoint:{thread}", mapping=some)
        pipeline.execute()
    before = everything(arena.client)
    with arena.measured():
        arena.trim(thread)
    if everything(arena.client) != before:
        raise Broken("more pins than can be read have let something go")
    arena.client.delete(f"retention:pins:checkpoint:{thread}")
    arena.check()
    arena.check_in_order()


ATTACKS = [
    Attack("two trims beside a writer", "the newest are there", trimmed_twice, rounds=50),
    Attack("search indexes dropped", "ends well or in one line", search_index_dropped, rounds=50),
    Attack("prune and copy cut off", "done again, all is done", saver_cut_off, rounds=50),
    Attack("20,000 pins", "nothing is deleted", pinned_thousandfold, rounds=10),
]
