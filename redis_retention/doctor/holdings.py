"""What a database holds of each storage format, by the names of its keys: no index is needed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import ResponseError

from redis_retention.engine import Engine
from redis_retention.layouts import LONGEST_KEY, Family
from redis_retention.operations import stats
from redis_retention.sans_io import Command, Nodes, Operation, command, send
from redis_retention.served import Served
from redis_retention.sources.scan import owner_of

MOST_KEYS = 100_000
"""Keys of the database that are looked at."""

_KEYS_PER_PAGE = 1000
_SAMPLES = 50


@dataclass(slots=True)
class Holding:
    """What there is of one format.

    Attributes:
        threads: The threads.
        checkpoints: How many checkpoints there are.
        samples: Some of the documents, or threads where the format has lists.
        size: Bytes of memory that the documents take, estimated; None where the server does not
            tell.
    """

    threads: set[bytes] = field(default_factory=set)
    checkpoints: int = 0
    samples: list[bytes] = field(default_factory=list)
    size: int | None = None

    def add(self, thread: bytes, checkpoints: int, sample: bytes) -> None:
        """Count checkpoints of a thread, and keep the sample with the chance that all have."""
        self.threads.add(thread)
        self.checkpoints += checkpoints
        if len(self.samples) < _SAMPLES:
            self.samples.append(sample)
        elif random.random() < _SAMPLES * checkpoints / self.checkpoints:
            self.samples[random.randrange(_SAMPLES)] = sample


def holdings(served: Served) -> Operation[tuple[dict[Engine, Holding], bool]]:
    """What there is of each format of which there is something, and whether all was looked at.

    Subgraphs' checkpoints of formats that keep documents are not counted.
    """
    found: defaultdict[Engine, Holding] = defaultdict(Holding)
    looked_at, complete = 0, True
    for node in (yield Nodes()):
        cursor = 0
        while complete:
            reply = yield from command("SCAN", cursor, "COUNT", _KEYS_PER_PAGE, node=node)
            cursor = int(reply[0])
            looked_at += len(reply[1])
            unsure = _sort(served, reply[1], found)
            for engine, threads in unsure.items():
                for thread in threads - found[engine].threads:
                    # One by one: in a cluster each may be in another slot.
                    [checkpoints] = yield from engine.counts([thread])
                    if checkpoints:
                        found[engine].add(thread, checkpoints, thread)
            if not cursor:
                break
            complete = looked_at < MOST_KEYS
    held = {engine: holding for engine, holding in found.items() if holding.threads}
    for engine, holding in held.items():
        holding.size = yield from _bytes(engine, holding)
    return held, complete


def _sort(
    served: Served, keys: Iterable[bytes], found: defaultdict[Engine, Holding]
) -> defaultdict[Engine, set[bytes]]:
    """Count documents whose names leave no doubt; the threads of lists that names may be of."""
    layouts = [engine.layout for engine in served.engines]
    unsure: defaultdict[Engine, set[bytes]] = defaultdict(set)
    for key in keys:
        if len(key) > LONGEST_KEY:
            continue
        owner = owner_of(key, layouts)
        for engine in served.engines:
            layout = engine.layout
            root = layout.root_key(key) if owner in (None, layout) else None
            if root is None or root.family is not Family.CHECKPOINT:
                continue
            if root.certain:
                found[engine].add(root.thread, 1, key)
            elif layout.lists_itself:
                unsure[engine].add(root.thread)
    return unsure


def _bytes(engine: Engine, holding: Holding) -> Operation[int | None]:
    if engine.layout.lists_itself:
        sizes = yield from stats.measure(engine, holding.samples)
        known = [(one.bytes, one.checkpoints) for one in sizes if one.bytes is not None]
    else:
        known = []
        for key in holding.samples:
            size: Any = yield from _permitted(key)
            if size is not None:
                known.append((int(size), 1))
    counted = sum(checkpoints for _, checkpoints in known)
    if not counted:
        return None
    return round(sum(size for size, _ in known) / counted * holding.checkpoints)


def _permitted(key: bytes) -> Operation[int | None]:
    try:
        size: int | None = yield from send(Command(("MEMORY USAGE", key)))
    except ResponseError:
        return None
    return size
