"""What a sweep would delete, without writing anything, not even an index."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from redis_retention.batches import batched
from redis_retention.engine import Engine, Rule
from redis_retention.glob import parse
from redis_retention.policies import is_eligible, rule_for
from redis_retention.sans_io import Operation
from redis_retention.sources import scan

# Threads that one pass over the database searches for.
_THREADS_PER_PASS = 500


def sweep_dry(
    engine: Engine,
    rules: Sequence[Rule],
    match: bytes,
    add: Callable[[bytes, Operation[scan.ThreadResult]], Operation[None]],
) -> Operation[None]:
    """Count what a sweep would delete.

    The names of the threads are remembered, and some hundreds of threads are found in each pass.

    Args:
        engine: What to do with a thread.
        rules: The first whose pattern matches a thread counts for it.
        match: A glob for the threads to look at.
        add: Runs the dry run of each thread, and counts the result in.

    Raises:
        RetentionError: The server is a cluster, in which a script may not look at all keys.
    """
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
    engine: Engine, name: bytes, found: scan.Found, rule: Rule | None
) -> Operation[scan.ThreadResult]:
    if rule is None or not is_eligible(len(found.documents), rule):
        return scan.ThreadResult(kept=len(found.documents))
    return (yield from scan.dry_run(engine, name, found, rule.policy))


def _trim_listed(
    engine: Engine, name: bytes, checkpoints: int, rule: Rule | None
) -> Operation[scan.ThreadResult]:
    if rule is None or not is_eligible(checkpoints, rule):
        return scan.ThreadResult(kept=checkpoints)
    return scan.would_be((yield from engine.plan(name, rule.policy)))
