"""How much there is: read from the indexes, with sizes that are estimated from samples."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis_retention import glob
from redis_retention.batches import batched
from redis_retention.engine import Engine
from redis_retention.layouts.names import title
from redis_retention.sans_io import Argument, Nodes, Operation
from redis_retention.sources.scan import each_page, escape_glob, listed_threads

SAMPLED_THREADS = 100
SAMPLES_PER_THREAD = 5
_INDEXES_PER_CALL = 200
# Measuring reads the documents: a call for few threads is short.
_MEASURED_PER_CALL = 5


@dataclass(frozen=True, slots=True)
class ThreadSize:
    """How large one thread is.

    Attributes:
        thread: The thread as it stands in the keys.
        checkpoints: Checkpoints that its index knows.
        bytes: Their memory, estimated; None where the server does not tell.
        layout: In which storage format, None in all of them.
    """

    thread: bytes
    checkpoints: int
    bytes: int | None = None
    layout: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class LargeCheckpoint:
    """A checkpoint that is larger than it should be, the newest of its thread.

    Attributes:
        size: Bytes of its document.
        thread: The thread as it stands in the keys.
        checkpoint_id: Its id.
        layout: In which storage format.
    """

    size: int
    thread: bytes
    checkpoint_id: bytes
    layout: str = ""


@dataclass(frozen=True, slots=True)
class LayoutSize:
    """How much there is in one storage format.

    Attributes:
        threads: Threads.
        checkpoints: Checkpoints, in all namespaces.
        bytes: Their memory, estimated; None where the server does not tell.
    """

    threads: int
    checkpoints: int
    bytes: int | None


@dataclass(slots=True)
class Stats:
    """How much the indexes know.

    Attributes:
        threads: Threads.
        checkpoints: Checkpoints, in all namespaces.
        bytes: Their memory, estimated; None where the server does not tell.
        sampled: Checkpoints that the estimate of `bytes` is based on.
        largest: The threads with the most checkpoints, the largest first.
        large_checkpoints: Threads whose newest checkpoint is above the size that was given; None
            when none was, or the server does not tell sizes.
        largest_checkpoints: The largest of these checkpoints, the largest first.
        layouts: How much there is in each storage format in which there is something.
    """

    threads: int = 0
    checkpoints: int = 0
    bytes: int | None = None
    sampled: int = 0
    largest: list[ThreadSize] = field(default_factory=list)
    large_checkpoints: int | None = None
    largest_checkpoints: list[LargeCheckpoint] = field(default_factory=list)
    layouts: dict[str, LayoutSize] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Measured:
    checkpoints: int
    keys: int
    samples: int
    total_bytes: int
    newest: bytes
    newest_bytes: int

    @property
    def mean(self) -> float | None:
        """Bytes of one checkpoint."""
        return self.total_bytes / self.samples if self.samples else None


def stats(engine: Engine, top: int, above: int | None = None) -> Operation[Stats]:
    """Read all indexes in one pass, and measure some threads.

    Args:
        engine: Says how the indexes are called.
        top: How many of the largest threads to name.
        above: Measure the newest checkpoint of each thread, too, and name those with more bytes.
    """
    result = Stats()
    largest: list[tuple[int, bytes]] = []
    chosen: list[tuple[float, bytes]] = []

    def count(key: bytes, found: _Measured) -> None:
        result.threads += 1
        result.checkpoints += found.checkpoints
        _keep(largest, top, (found.checkpoints, key))
        if above is not None and found.newest_bytes:
            _note_newest(result, engine, top, above, key, found)
        _keep(chosen, SAMPLED_THREADS, (_lot(found.checkpoints), key))

    yield from _each_index(engine, count, newest=above is not None)
    result.largest_checkpoints.sort(reverse=True)
    result.largest = yield from _sizes(engine, [key for _, key in sorted(largest, reverse=True)])
    yield from _estimate(engine, [key for _, key in chosen], result)
    return result


def largest(
    engine: Engine, most: int, after: tuple[int, bytes] | None = None, match: bytes = b"*"
) -> Operation[list[ThreadSize]]:
    """The threads with the most checkpoints, the largest first, not measured.

    Args:
        engine: Says how the indexes are called.
        most: How many of them.
        after: Only those behind this one: its checkpoints and its id.
        match: Only those whose ids match this glob.
    """
    start = len(engine.index_key(b""))
    pattern = glob.parse(match)
    found: list[tuple[int, bytes]] = []

    def choose(key: bytes, size: _Measured) -> None:
        one = size.checkpoints, key[start:]
        if after is None or one < after:
            _keep(found, most, one)

    yield from _each_index(engine, choose, wanted=lambda key: pattern.matches(key[start:]))
    # SCAN may name a key twice.
    return [ThreadSize(thread, count) for count, thread in sorted(set(found), reverse=True)]


def measure(engine: Engine, threads: Iterable[bytes]) -> Operation[list[ThreadSize]]:
    """How large threads are, estimated from some checkpoints of each."""
    return _sizes(engine, [engine.index_key(thread) for thread in threads])


def _each_index(
    engine: Engine,
    take: Callable[[bytes, _Measured], None],
    *,
    newest: bool = False,
    wanted: Callable[[bytes], bool] = lambda _: True,
) -> Operation[None]:
    """Tell of each index how many checkpoints it knows, and how large the newest one is."""
    # Where a format has lists, the indexes of their threads, once each.
    lists, met = engine.layout.lists_itself, set[bytes]()
    pattern = escape_glob(engine.index_key(b"")) + b"*"
    options = () if lists else ("MATCH", pattern, "TYPE", "zset")

    def work_off(node: Any, keys: Sequence[bytes], _: float) -> Operation[None]:
        if lists:
            new = listed_threads(engine, keys) - met
            met.update(new)
            keys = [engine.index_key(thread) for thread in new]
        some = filter(wanted, keys)
        for key, found in (yield from _measured(engine, some, 0, node, newest)):
            if found.checkpoints or not lists:
                take(key, found)

    for node in (yield Nodes()):
        yield from each_page(partial(work_off, node), *options, node=node)


def _note_newest(
    result: Stats, engine: Engine, top: int, above: int, key: bytes, found: _Measured
) -> None:
    large = found.newest_bytes > above
    result.large_checkpoints = (result.large_checkpoints or 0) + large
    if large:
        thread = key[len(engine.index_key(b"")) :]
        layout = title(engine.layout)
        checkpoint = LargeCheckpoint(found.newest_bytes, thread, found.newest, layout)
        _keep(result.largest_checkpoints, top, checkpoint)


def _keep(heap: list[Any], size: int, item: Any) -> None:
    """Keep the largest items, and no more of them than `size`."""
    if len(heap) < size:
        heapq.heappush(heap, item)
    elif size:
        heapq.heappushpop(heap, item)


def _lot(weight: int) -> float:
    """The largest lots are a random sample in which many checkpoints mean better chances."""
    return float(random.random() ** (1 / weight)) if weight else 0.0


def _measured(
    engine: Engine,
    keys: Iterable[bytes],
    samples: int,
    node: Any = None,
    newest: bool = False,
) -> Operation[list[tuple[bytes, _Measured]]]:
    """For each index how many checkpoints it knows, and what some of them take."""
    found: list[tuple[bytes, _Measured]] = []
    arguments: list[Argument] = [engine.index_key(b""), *engine.layout.arguments()]
    arguments += [samples, 0, int(newest)]
    for some in batched(keys, _per_call(samples or newest, node)):
        reply = yield from engine.call("index/measure", some, arguments)
        found += [(key, _Measured(*row)) for key, row in zip(some, reply, strict=True)]
    return found


def _per_call(samples: int | bool, node: Any) -> int:
    if node is not None:
        # In a cluster the keys of one call must share a slot.
        return 1
    return _MEASURED_PER_CALL if samples else _INDEXES_PER_CALL


def _sizes(engine: Engine, keys: Sequence[bytes]) -> Operation[list[ThreadSize]]:
    start = len(engine.index_key(b""))
    sizes: list[ThreadSize] = []
    for key in keys:
        for _, found in (yield from _measured(engine, [key], SAMPLES_PER_THREAD)):
            estimate = None if found.mean is None else round(found.mean * found.checkpoints)
            layout = title(engine.layout)
            sizes.append(ThreadSize(key[start:], found.checkpoints, estimate, layout))
    return sizes


def _estimate(engine: Engine, keys: Sequence[bytes], result: Stats) -> Operation[None]:
    total = 0.0
    threads = 0
    for key in keys:
        for _, found in (yield from _measured(engine, [key], SAMPLES_PER_THREAD)):
            result.sampled += found.samples
            if found.mean is not None:
                total += found.mean
                threads += 1
    if threads:
        result.bytes = round(total / threads * result.checkpoints)
