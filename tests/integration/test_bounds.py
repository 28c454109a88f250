"""However much there is in a thread, each call does a little of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import redis

from redis_retention import Policy
from redis_retention.engine import Engine
from redis_retention.sans_io import Call, Request
from redis_retention.transport import ClientCalls, Transport
from tests.integration.threads import DEFAULT, ids
from tests.model.threads import MovePointer, Operation, PutCheckpoint, task_id, uuid6_at, write_to

KEEP_2 = Policy(keep_last=2)
MOST_COMMANDS = 700
"""That a call of a script may send to the server: some microseconds each."""
MOST_COMMANDS_OF_FORKS = 1_500
"""The same where a checkpoint is asked from which one it descends before it is deleted."""


class Counting(Transport):
    """Counts what each call of a script has asked of the server."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._client = client
        self.commands: list[int] = []

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        self._client.config_resetstat()
        replies = yield from super()._send_all(requests)
        if any(isinstance(request, Call) for request in requests):
            stats = self._client.info("commandstats")
            self.commands.append(sum(stats[name]["calls"] for name in stats) - 2)
        return replies


def indexed(client: redis.Redis, operations: Iterable[Operation]) -> None:
    """Store a thread, and index it."""
    done = list(operations)
    with client.pipeline(transaction=False) as pipeline:
        write_to(pipeline, "a", done)
        pipeline.execute()
    put = [one for one in done if isinstance(one, PutCheckpoint)]
    documents = [DEFAULT.document("a", one.ns, one.id) for one in put]
    Transport(client).run(Engine().add_all(documents, b"a"))


def graph(count: int = 10) -> list[PutCheckpoint]:
    """Root checkpoints, one after the other."""
    names = ids(count)
    return [PutCheckpoint("", i, parent) for i, parent in zip(names, ["", *names], strict=False)]


def subgraphs(count: int) -> list[PutCheckpoint]:
    """Stateful subgraphs, each of three checkpoints."""
    first, second, third = ids(3)
    return [
        PutCheckpoint(f"memory-{number:05}", checkpoint_id, parent)
        for number in range(count)
        for checkpoint_id, parent in ((first, ""), (second, first), (third, second))
    ]


def invocations_of(count: int, root: str) -> list[PutCheckpoint]:
    """Invocations that a root checkpoint has started."""
    name = ids(1)[0]
    return [PutCheckpoint(f"node:{task_id(n)}", name, parents=(("", root),)) for n in range(count)]


@pytest.mark.parametrize("policy", [KEEP_2, Policy(keep_last=5)])
def test_many_stateful_subgraphs(client: redis.Redis, policy: Policy) -> None:
    indexed(client, [*graph(), *subgraphs(2_000)])
    counting = Counting(client)

    plan = counting.run(Engine().plan(b"a", policy))
    result = counting.run(Engine().trim(b"a", policy))

    assert len(plan.checkpoints) == 10 + 2_000 * 3
    assert sum(not one.reasons for one in plan.checkpoints) == result.deleted.checkpoints
    kept = min(policy.keep_last or 0, 3)
    assert result.left == (policy.keep_last or 0) + 2_000 * kept
    assert result.deleted.checkpoints == 10 - (policy.keep_last or 0) + 2_000 * (3 - kept)
    assert max(counting.commands) <= MOST_COMMANDS


def test_many_that_expire(client: redis.Redis) -> None:
    old = [uuid6_at(time.time() - 7_200, number) for number in range(2_000)]
    started = zip(range(1_000), old[1_000:], strict=True)
    indexed(
        client,
        [
            PutCheckpoint("", old[0]),
            *(PutCheckpoint(f"memory-{number}", old[number]) for number in range(1, 1_000)),
            *(PutCheckpoint(f"node:{task_id(n)}", i, parents=(("", old[0]),)) for n, i in started),
        ],
    )
    counting = Counting(client)
    policy = Policy(keep_last=2, expire_after=timedelta(hours=1))

    result = counting.run(Engine(grace_ms=0).trim(b"a", policy))

    assert result.deleted.checkpoints == 2_000
    assert client.dbsize() == 0
    assert max(counting.commands) <= MOST_COMMANDS


@pytest.mark.parametrize("complete", [False, True])
def test_many_invocations_of_a_root_that_is_not_known(client: redis.Redis, complete: bool) -> None:
    """As they are left by others who trim: they go where it is certain that it will not come."""
    long_gone = uuid6_at(time.time() - 7_200)
    indexed(client, [*graph(), *invocations_of(2_000, long_gone)])
    counting = Counting(client)

    result = counting.run(Engine(grace_ms=0).trim(b"a", KEEP_2, complete=complete))
    plan = counting.run(Engine(grace_ms=0).plan(b"a", KEEP_2))

    assert len(plan.checkpoints) == result.left
    assert result.left == 2 + (0 if complete else 2_000)
    assert max(counting.commands) <= MOST_COMMANDS


# --- ends of forks ------------------------------------------------------------------------------


def forks(count: int, below: float = 3_600.0) -> list[PutCheckpoint]:
    """Forks of one old checkpoint, and the line that the graph has gone on with."""
    origin, *ends = (uuid6_at(time.time() - below + n, n) for n in range(count + 1))
    return [
        PutCheckpoint("", origin),
        *(PutCheckpoint("", end, origin) for end in ends),
        *(replace(one, parent=one.parent or origin) for one in graph()),
    ]


def seen_long_ago(client: redis.Redis) -> None:
    """Let the index say that all leaves were first seen long ago."""
    key = Engine().index_key(b"a")
    leaves: Any = client.zrangebylex(key, b"[l", b"(m")
    client.zrem(key, *leaves)
    client.zadd(key, {leaf[:-13] + b"1000000000000": 0 for leaf in leaves})


def test_many_ends_of_forks(client: redis.Redis) -> None:
    thread = forks(2_500)
    indexed(client, thread)
    seen_long_ago(client)
    counting = Counting(client)

    plan = counting.run(Engine().plan(b"a", KEEP_2))
    result = counting.run(Engine().trim(b"a", KEEP_2))

    kept = {one.id.encode() for one in thread[-2:]}
    assert ids_left(client) == kept
    assert {d.place.checkpoint_id for d in plan.checkpoints if d.reasons} == kept
    assert result.deleted.checkpoints == len(thread) - 2
    assert max(counting.commands) <= MOST_COMMANDS_OF_FORKS


def ids_left(client: redis.Redis) -> set[bytes]:
    return {key.rpartition(b":")[2] for key in client.scan_iter(match="checkpoint:a:*", count=1000)}


def test_what_descends_from_the_latest_pointer_stays_among_many_forks(client: redis.Redis) -> None:
    """Two checkpoints of a host whose clock lags, the first of which the pointer names."""
    thread = forks(1_200)
    named, ahead = (uuid6_at(time.time() - 7_200 + n, 9_000 + n) for n in range(2))
    lagging = [PutCheckpoint("", named, thread[-1].id), PutCheckpoint("", ahead, named)]
    indexed(client, [*thread, *lagging, MovePointer("", named)])
    seen_long_ago(client)

    Counting(client).run(Engine().trim(b"a", KEEP_2))
    # What the index no longer knows to be a leaf stays as well.
    again = Counting(client).run(Engine().trim(b"a", KEEP_2))
    plan = Counting(client).run(Engine().plan(b"a", KEEP_2))

    assert ids_left(client) == {i.encode() for i in (named, ahead, *(o.id for o in thread[-2:]))}
    assert again.deleted.checkpoints == 0
    reasons = {d.place.checkpoint_id.decode(): d.reasons for d in plan.checkpoints}
    assert (reasons[named], reasons[ahead]) == (("latest",), ("ahead",))


def test_forks_that_were_seen_a_moment_ago_stay_and_too_many_of_them_keep_the_others(
    client: redis.Redis,
) -> None:
    thread = forks(1_200)
    indexed(client, thread)
    seen_long_ago(client)
    key = Engine().index_key(b"a")
    recent = [one.id.encode() for one in thread[100:350]]
    members = {b"l\0" + i + b"\0%013d" % (time.time() * 1000): 0 for i in recent}
    few = dict(list(members.items())[:50])
    client.zadd(key, few)

    Counting(client).run(Engine().trim(b"a", KEEP_2))
    kept = {*recent[:50], *(one.id.encode() for one in thread[-2:])}
    assert ids_left(client) == kept

    client.flushall()
    indexed(client, thread)
    seen_long_ago(client)
    client.zadd(key, members)
    counting = Counting(client)
    result = counting.run(Engine().trim(b"a", KEEP_2))
    assert result.deleted.checkpoints == 0
    assert max(counting.commands) <= MOST_COMMANDS
    assert counting.run(Engine(grace_ms=0).trim(b"a", KEEP_2)).left == 2
