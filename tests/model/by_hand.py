"""Threads made by hand: operations on a clock of one step a second.

`c1`, `c2`, ... are the ids of the root graph in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis

from tests.model.rules import Policy, ThreadDecision, decide
from tests.model.snapshot import read_database
from tests.model.threads import NOW, Operation, PutCheckpoint, task_id, uuid6_at, write_to

TASK = task_id(7)
NODE = f"node:{task_id(1)}"


def at(n: float) -> str:
    """The id of a checkpoint made at second `n`, of 100 before now."""
    return uuid6_at(NOW - 100 + n)


c1, c2, c3, c4, c5, c6 = (at(n) for n in range(1, 7))


def chain(*ids: str, ns: str = "", **fields: Any) -> list[Operation]:
    """Checkpoints, each the parent of the next."""
    parents = ("", *ids)
    return [PutCheckpoint(ns, cid, parents[n], **fields) for n, cid in enumerate(ids)]


def subgraph(ns: str, root: str | None, *ids: str) -> list[Operation]:
    """Checkpoints of a subgraph that started from this root checkpoint."""
    return chain(*ids, ns=ns, parents=(("", root),) if root else ())


def decided(
    client: redis.Redis, operations: Iterable[Operation], policy: Policy | int, now: float = NOW
) -> ThreadDecision:
    write_to(client, "t", operations)
    policy = Policy(policy) if isinstance(policy, int) else policy
    return decide(read_database(client), "t", policy, now)


def retained(decision: ThreadDecision, ns: str = "") -> list[str]:
    return sorted(cid for where, cid in decision.retained if where == ns)


def reasons(decision: ThreadDecision, checkpoint_id: str, ns: str = "") -> set[str]:
    one = decision.checkpoints[ns, checkpoint_id]
    return set(one.required) | set(one.kept_by_policy)
