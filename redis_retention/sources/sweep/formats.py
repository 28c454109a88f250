"""A sweep of all storage formats that are served."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis_retention.engine import Engine, Rule
from redis_retention.errors import ServerLacks
from redis_retention.layouts.names import title
from redis_retention.lease import Lease, LeaseTaken
from redis_retention.policies import for_layout
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.sources.meeting import meet
from redis_retention.sources.sweep.others import Others
from redis_retention.sources.sweep.progress import Progress, SweepResult
from redis_retention.sources.sweep.sweeper import Sweeper


def sweep_formats(
    served: Served,
    rules: Sequence[Rule],
    *,
    match: bytes = b"*",
    max_keys_per_second: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    alone: bool = False,
) -> Operation[SweepResult]:
    """Sweep each format: one pass over the database for each of which there is something.

    The first pass meets the keys of all; formats that are served by themselves have a pass of their
    own only if it has met theirs.

    Args:
        served: The formats.
        rules: The first that counts for a format and whose pattern matches a thread counts for it.
        match: A glob for the threads to look at.
        max_keys_per_second: Look at no more keys than this.
        progress: Is notified how far the pass has come.
        alone: Leave out formats, but for the first, that somebody else is sweeping.

    Raises:
        ServerLacks: The server can hold none of the formats.
        RetentionError: The server is a cluster.
    """
    total, met, others = SweepResult(), set[Engine](), None
    lacking: ServerLacks | None = None
    for engine in (yield from _in_turn(served)):
        if served.auto and others is not None and engine not in met:
            # There is nothing to index.
            total.indexed.add(engine)
            continue
        beside = Others(other for other in served.engines if other is not engine)
        sweeper = Sweeper(
            engine,
            for_layout(rules, title(engine.layout)),
            match=match,
            max_keys_per_second=max_keys_per_second,
            progress=progress,
            others=beside,
        )
        operation = sweeper.sweep()
        if alone and engine is not served.first:
            operation = Lease(engine).during(operation)
        try:
            part = yield from operation
        except LeaseTaken:
            continue
        except ServerLacks as error:
            if not served.auto:
                raise
            lacking = error
            continue
        others = beside
        met |= others.met
        _include(total, title(engine.layout), part)
    if lacking is not None and not met:
        raise lacking
    return total


def _in_turn(served: Served) -> Operation[Sequence[Engine]]:
    """The formats in the order of their passes.

    The first has one whatever there is: so it is one of which there is something, if a look at some
    keys meets any.
    """
    if not served.auto:
        return served.engines
    met = yield from meet(served, pages=1)
    return sorted(served.engines, key=lambda engine: engine not in met)


def _include(total: SweepResult, layout: str, part: SweepResult) -> None:
    """Count in the sweep of one format."""
    part.refuse(part.refused)
    total.include(layout, part, part.threads)
    total.threads += part.threads
    total.threads_trimmed += part.threads_trimmed
    total.keys_scanned += part.keys_scanned
    total.refused |= part.refused
    total.indexed |= part.indexed
