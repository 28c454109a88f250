"""However much there is in a thread, each call does a little of it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
import redis

from redis_retention import Policy
from redis_retention.engine import Engine
from redis_retention.sans_io import Call, Request
from redis_retention.transport import ClientCalls, Transport
from tests.integration.threads import DEFAULT, ids
from tests.model.threads import Operation, PutCheckpoint, task_id, uuid6_at, write_to

KEEP_2 = Policy(keep_last=2)
MOST_COMMANDS = 700
"""That a call of a script may send to the server: some microseconds each."""


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
    put = list(operations)
    write_to(client, "a", put)
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

    result = counting.run(Engine().trim(b"a", policy))

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

    assert result.left == 2 + (0 if complete else 2_000)
    assert max(counting.commands) <= MOST_COMMANDS
