"""How much there is in all storage formats that are served."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from heapq import nlargest

from redis_retention.layouts.names import title
from redis_retention.operations import stats
from redis_retention.operations.stats import LayoutSize, Stats, ThreadSize
from redis_retention.sans_io import Operation
from redis_retention.served import Served


def stats_of(served: Served, top: int, above: int | None = None) -> Operation[Stats]:
    """Read the indexes of all formats, and measure some threads; see `stats.stats`."""
    result = Stats()
    for engine in served.engines:
        part = yield from stats.stats(engine, top, above)
        if part.threads:
            size = LayoutSize(part.threads, part.checkpoints, part.bytes)
            result.layouts[title(engine.layout)] = size
        result.threads += part.threads
        result.checkpoints += part.checkpoints
        result.bytes = _sum(result.bytes, part.bytes)
        result.sampled += part.sampled
        result.largest += part.largest
        result.large_checkpoints = _sum(result.large_checkpoints, part.large_checkpoints)
        result.largest_checkpoints += part.largest_checkpoints
    result.largest = nlargest(top, result.largest, key=_place)
    result.largest_checkpoints = nlargest(top, result.largest_checkpoints)
    return result


def largest_of(
    served: Served, most: int, after: tuple[int, bytes] | None = None, match: bytes = b"*"
) -> Operation[list[ThreadSize]]:
    """The threads with the most checkpoints in any format, not measured; see `stats.largest`."""
    found: dict[bytes, ThreadSize] = {}
    for engine in served.engines:
        for one in (yield from stats.largest(engine, most, after, match)):
            found[one.thread] = max(one, found.get(one.thread, one), key=_place)
    return nlargest(most, found.values(), key=_place)


def measure_all(served: Served, threads: Sequence[bytes]) -> Operation[list[ThreadSize]]:
    """How large threads are, in all formats together, in the order given."""
    sizes: defaultdict[bytes, list[ThreadSize]] = defaultdict(list)
    for engine in served.engines:
        for one in (yield from stats.measure(engine, threads)):
            if one.checkpoints:
                sizes[one.thread].append(one)
    return [_together(thread, sizes[thread]) for thread in threads]


def _together(thread: bytes, sizes: Sequence[ThreadSize]) -> ThreadSize:
    known = [one.bytes for one in sizes if one.bytes is not None]
    checkpoints = sum(one.checkpoints for one in sizes)
    return ThreadSize(thread, checkpoints, sum(known) if known else None)


def _place(one: ThreadSize) -> tuple[int, bytes]:
    return one.checkpoints, one.thread


def _sum(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other
