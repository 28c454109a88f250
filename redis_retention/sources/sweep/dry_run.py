"""What a sweep would delete, without writing anything, not even an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis_retention.batches import batched
from redis_retention.engine import Engine, Rule
from redis_retention.errors import ServerLacks
from redis_retention.glob import parse
from redis_retention.layouts.names import title
from redis_retention.policies import for_layout, is_eligible, rule_for
from redis_retention.results import EachThread, ThreadResult, TrimResult, total
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.sources import one_thread, scan

# Threads that one pass over the database searches for.
_THREADS_PER_PASS = 500


def sweep_formats_dry(served: Served, rules: Sequence[Rule], match: bytes) -> Operation[TrimResult]:
    """Count what a sweep of all formats would delete.

    Args:
        served: The formats.
        rules: The first that counts for a format and whose pattern matches a thread counts for it.
        match: A glob for the threads to look at.

    Raises:
        ServerLacks: The server can hold none of the formats.
        RetentionError: The server is a cluster, in which a script may not look at all keys.
    """
    each: dict[Engine, EachThread] = {}
    lacking: ServerLacks | None = None
    for engine in served.engines:
        counted = EachThread(TrimResult(dry_run=True))
        counting = for_layout(rules, title(engine.layout))
        try:
            yield from _sweep_dry(engine, counting, match, counted.add)
        except ServerLacks as error:
            if not served.auto:
                raise
            lacking = error
            continue
        each[engine] = counted
    result = total(each, dry_run=True)
    if lacking is not None and not result.layouts:
        raise lacking
    result.threads = sum(one.result.threads for one in each.values())
    result.threads_trimmed = sum(len(one.trimmed) for one in each.values())
    return result


def _sweep_dry(
    engine: Engine,
    rules: Sequence[Rule],
    match: bytes,
    add: Callable[[bytes, Operation[ThreadResult]], Operation[None]],
) -> Operation[None]:
    # The names of the threads are remembered, and some hundreds of threads are found in each pass.
    yield from scan.refuse_cluster()
    yield from engine.check_server()
    names = yield from scan.thread_names(engine.layout)
    if engine.layout.lists_itself:
        for some in batched(filter(parse(match).matches, names), _THREADS_PER_PASS):
            counts = yield from engine.counts(some)
            for name, checkpoints in zip(some, counts, strict=True):
                # The name may be that of another format's key.
                if checkpoints:
                    rule = rule_for(rules, name)
                    yield from add(name, _trim_listed(engine, name, checkpoints, rule))
        return
    for some in batched(filter(parse(match).matches, names), _THREADS_PER_PASS):
        found = yield from scan.find(engine.layout, some)
        for name in some:
            yield from add(name, _trim(engine, name, found.pop(name), rule_for(rules, name)))


def _trim(
    engine: Engine, name: bytes, found: one_thread.Found, rule: Rule | None
) -> Operation[ThreadResult]:
    if rule is None or not is_eligible(len(found.documents), rule):
        return ThreadResult(left=len(found.documents))
    return (yield from one_thread.dry_run(engine, name, found, rule.policy))


def _trim_listed(
    engine: Engine, name: bytes, checkpoints: int, rule: Rule | None
) -> Operation[ThreadResult]:
    if rule is None or not is_eligible(checkpoints, rule):
        return ThreadResult(left=checkpoints)
    return one_thread.would_be((yield from engine.plan(name, rule.policy)))
