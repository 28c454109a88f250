"""The seam between the product and a storage format, proved by a second one."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import redis

from redis_retention import Policy
from redis_retention.engine import Engine, Rule
from redis_retention.sources import one_thread, scan
from redis_retention.sources.keyspace import Listener
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import Transport
from tests.integration.threads import ids
from tests.layouts.tiny import Tiny, names, stored, write_thread
from tests.servers.start import Server

KEEP_2 = Policy(keep_last=2)


def engine() -> Engine:
    return Engine(Tiny(), grace_ms=0)


def test_a_trim_deletes_what_is_not_retained_with_its_writes(client: redis.Redis) -> None:
    made = ids(5)
    write_thread(client, "a:b", made)
    write_thread(client, "a", made)
    transport = Transport(client)

    found = transport.run(scan.find(Tiny(), [b"a:b"]))[b"a:b"]
    result = transport.run(one_thread.trim(engine(), b"a:b", found, KEEP_2))

    assert stored(client) == names("a:b", made[-2:]) | names("a", made)
    assert (result.deleted.checkpoints, result.deleted.keys, result.left) == (3, 12, 2)


def test_a_plan_says_what_that_trim_does(client: redis.Redis) -> None:
    made = ids(4)
    write_thread(client, "a", made)
    before = stored(client)
    transport = Transport(client)

    found = transport.run(scan.find(Tiny(), [b"a"]))[b"a"]
    decisions = transport.run(one_thread.plan(engine(), b"a", found, KEEP_2))

    reasons = [(d.place.checkpoint_id.decode(), d.reasons) for d in decisions.checkpoints]
    assert reasons == [(made[0], ()), (made[1], ()), (made[2], ("last",)), (made[3], ("last",))]
    assert [d.keys for d in decisions.checkpoints] == [4, 4, 0, 0]
    assert stored(client) == before


def test_a_sweep_trims_all_threads_and_deletes_orphans(client: redis.Redis) -> None:
    made, old = ids(4), ids(1, newest_age=9 * 3600.0)
    for thread in ("a", "b:c"):
        write_thread(client, thread, made)
    write_thread(client, "a", old)
    client.delete(f"tiny:a:{old[0]}")

    result = Transport(client).run(Sweeper(engine(), [Rule(b"*", KEEP_2)]).sweep())

    assert stored(client) == names("a", made[-2:]) | names("b:c", made[-2:])
    assert (result.threads, result.checkpoints_deleted, result.checkpoints_kept) == (2, 4, 4)


def test_a_second_sweep_finds_nothing_to_do(client: redis.Redis) -> None:
    made = ids(4)
    write_thread(client, "a", made)
    sweep = [Rule(b"*", KEEP_2)]
    Transport(client).run(Sweeper(engine(), sweep).sweep())

    result = Transport(client).run(Sweeper(engine(), sweep).sweep())

    assert (result.threads, result.checkpoints_deleted) == (1, 0)
    assert stored(client) == names("a", made[-2:])


def test_an_expired_thread_leaves_nothing(client: redis.Redis) -> None:
    write_thread(client, "a", ids(3, newest_age=9 * 3600.0))
    policy = Policy(expire_after=timedelta(hours=1))

    Transport(client).run(Sweeper(engine(), [Rule(b"*", policy)]).sweep())

    assert set(client.scan_iter()) == set()


async def test_the_listener_trims_what_crosses_its_trigger(redis_stack: Server) -> None:
    made = ids(5)
    with redis_stack.client() as client:
        client.flushall()
        client.config_set("notify-keyspace-events", "K$dgx")
    listening = redis.asyncio.Redis(port=redis_stack.port)
    listener = Listener(listening, engine(), [Rule(b"*", KEEP_2, trigger=4)])
    running = asyncio.create_task(listener.run())
    try:
        await listener.settled()
        with redis_stack.client() as client:
            await asyncio.to_thread(write_thread, client, "a", made)
            deadline = time.monotonic() + 30
            while stored(client) != names("a", made[-2:]) and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            assert stored(client) == names("a", made[-2:])
    finally:
        listener.stop()
        await running
        await listening.aclose()
