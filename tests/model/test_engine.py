"""The engine against the model: random threads, on a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
import redis
from hypothesis import given

from redis_retention import Policy, Retention
from redis_retention.engine import (
    CHECKPOINTS,
    SMALLEST_KEYS_PER_CALL,
    Engine,
    Rule,
    ThreadDocuments,
)
from redis_retention.layouts import LangGraphRedis
from redis_retention.sans_io import Argument, Call, Operation, Request, command
from redis_retention.sources import one_thread, scan
from redis_retention.sources.sweep import Sweeper
from redis_retention.transport import ClientCalls, Transport
from tests.conftest import real_server
from tests.model import rules
from tests.model.bounds import load_small
from tests.model.rules import Must, ThreadDecision, boundary_complaints, complaints, decide
from tests.model.snapshot import Database, read_database
from tests.model.threads import DamageIndex, Example, examples

NOW = time.time()


@pytest.fixture(scope="module")
def database() -> redis.Redis:
    return real_server("redis-stack").client()


def engine_policy(policy: rules.Policy) -> Policy:
    within = policy.keep_within
    return Policy(
        keep_last=policy.keep_last,
        keep_within=None if within is None else timedelta(seconds=within),
        keep_runs=policy.keep_runs,
    )


@dataclass
class Arranged:
    """An example in the server, what the model says of it, and an engine to try on it."""

    before: Database
    decision: ThreadDecision
    retention: Retention
    engine: Engine
    thread: bytes
    policy: Policy


def arranged(
    example: Example,
    database: redis.Redis,
    keys_per_call: int = 250,
    prepare: Callable[[redis.Redis, Example], None] = lambda *_: None,
) -> Arranged:
    subject = example.subject
    database.flushall()
    prepare(database, example)
    example.write(database)
    before = read_database(database)
    policy, prefixes = example.policy, subject.prefixes
    decision = decide(before, subject.thread_id, policy, time.time(), prefixes)
    engine = Engine(
        LangGraphRedis(prefixes.checkpoint, prefixes.write),
        keys_per_call=keys_per_call,
        grace_ms=0,
    )
    thread = engine.layout.stored_thread(subject.thread_id)
    for namespace, checkpoint_id in decision.checkpoints:
        if checkpoint_id in policy.pinned:
            database.hset(engine.pins_key(thread), f"{namespace}\0{checkpoint_id}", "")
    retention = Retention(
        database,
        checkpoint_prefix=prefixes.checkpoint,
        write_prefix=prefixes.write,
        grace=timedelta(0),
    )
    return Arranged(before, decision, retention, engine, thread, engine_policy(policy))


@given(examples(now=NOW))
def test_a_trim_deletes_what_the_model_deletes_and_nothing_else(
    database: redis.Redis, example: Example
) -> None:
    it = arranged(example, database)

    it.retention.trim(example.subject.thread_id, it.policy)

    assert complaints(it.before, read_database(database), it.decision) == []


@given(examples(now=NOW))
def test_a_trim_by_search_loses_nothing_and_leaves_no_checkpoint_that_the_model_deletes(
    database: redis.Redis, example: Example
) -> None:
    it = arranged(example, database, prepare=make_search_indexes)
    checkpoints = {c.key for c in it.decision.thread.checkpoints.values()}

    dry = it.retention.trim(example.subject.thread_id, it.policy, dry_run=True)
    plan = it.retention.plan(example.subject.thread_id, it.policy)
    result = it.retention.trim(example.subject.thread_id, it.policy)

    after = read_database(database)
    assert complaints(it.before, after, it.decision, complete=False) == []
    assert not it.decision.that(Must.DELETE) & checkpoints & after.keys()
    gone = it.before.keys() - after.keys()
    assert result.keys_deleted == dry.keys_deleted == len(gone)
    assert result.checkpoints_deleted == dry.checkpoints_deleted
    assert result.checkpoints_kept == dry.checkpoints_kept
    there = {
        place: checkpoint.key in after
        for place, checkpoint in it.decision.thread.checkpoints.items()
    }
    assert {(c.namespace, c.checkpoint_id): c.kept for c in plan.checkpoints} == there


def make_search_indexes(database: redis.Redis, example: Example) -> None:
    """Make those that the saver makes, and wait until they have looked at the database."""
    plain: Any = redis.Redis(connection_pool=database.connection_pool)
    prefixes = example.subject.prefixes
    for prefix in (prefixes.checkpoint, prefixes.write):
        words = f"FT.CREATE {prefix} ON JSON PREFIX 1 {prefix}: SCHEMA $.thread_id AS thread_id TAG"
        plain.execute_command(*words.split(), "SEPARATOR", ",")
    for prefix in (prefixes.checkpoint, prefixes.write):
        while plain.execute_command("FT.INFO", prefix)[b"indexing"]:
            time.sleep(0.001)


class Watched(Transport):
    """Looks at the database after each call of a script."""

    def __init__(self, client: redis.Redis, look: Callable[[], None]) -> None:
        super().__init__(client)
        self._look = look

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        replies = yield from super()._send_all(requests)
        if any(isinstance(request, Call) for request in requests):
            self._look()
        return replies


def assert_in_order_after_each_call(
    kind: type[Engine], database: redis.Redis, example: Example
) -> None:
    it = arranged(example, database)
    found: list[str] = []

    def look() -> None:
        found.extend(boundary_complaints(it.before, read_database(database), it.decision))

    small = kind(it.engine.layout, keys_per_call=SMALLEST_KEYS_PER_CALL, grace_ms=0)
    keys = Transport(database).run(scan.find(small.layout, [it.thread]))[it.thread]
    Watched(database, look).run(one_thread.trim(small, it.thread, keys, it.policy))

    assert found == []
    assert complaints(it.before, read_database(database), it.decision) == []


@given(examples(now=NOW))
def test_after_each_call_alone_the_thread_is_whole(database: redis.Redis, example: Example) -> None:
    assert_in_order_after_each_call(Engine, database, example)


@given(examples(now=NOW))
def test_a_dry_run_changes_nothing_and_both_count_what_the_trim_deletes(
    database: redis.Redis, example: Example
) -> None:
    it = arranged(example, database)
    before = read_database(database)

    dry = it.retention.trim(example.subject.thread_id, it.policy, dry_run=True)
    assert read_database(database) == before

    real = it.retention.trim(example.subject.thread_id, it.policy)
    gone = before.keys() - read_database(database).keys()
    documents = {c.key for c in it.decision.thread.checkpoints.values()}
    documents |= it.decision.thread.stubs.keys()
    assert dry.keys_deleted == real.keys_deleted == len(gone & it.before.keys())
    assert dry.checkpoints_deleted == real.checkpoints_deleted == len(gone & documents)
    assert dry.checkpoints_kept == real.checkpoints_kept


@given(examples(now=NOW))
def test_a_plan_is_what_a_trim_then_does(database: redis.Redis, example: Example) -> None:
    it = arranged(example, database)

    plan = it.retention.plan(example.subject.thread_id, it.policy)
    it.retention.trim(example.subject.thread_id, it.policy)

    after = read_database(database)
    there = {
        place: checkpoint.key in after
        for place, checkpoint in it.decision.thread.checkpoints.items()
    }
    assert {(c.namespace, c.checkpoint_id): c.kept for c in plan.checkpoints} == there


class ByNames(Engine):
    """Knows root checkpoints and stubs by their names alone, as the first pass of a sweep does."""

    def update_index(
        self, thread: bytes, documents: Mapping[bytes, int], *, by_names: bool = False
    ) -> Operation[ThreadDocuments]:
        found = yield from super().update_index(thread, documents)
        key = self.index_key(thread)
        for document, status in found.statuses.items():
            checkpoint_id = self.roots_by_name(thread, [document]).get(document)
            if status in {*CHECKPOINTS, "stub"} and checkpoint_id is not None:
                start = b"s\0" + checkpoint_id
                range_ = (key, b"[" + start, b"(" + start + b"\1")
                yield from command("ZREMRANGEBYLEX", *range_)
                yield from command("ZREM", key, b"b" + checkpoint_id)
                yield from self.add_roots(thread, [checkpoint_id])
        return found


@given(examples(now=NOW))
def test_by_names_alone_each_call_leaves_the_thread_whole(
    database: redis.Redis, example: Example
) -> None:
    assert_in_order_after_each_call(ByNames, database, example)


class LooksAtLittle(Engine):
    """Looks at one namespace, and at one invocation, by each call."""

    def _prepared(
        self, name: str, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> tuple[Call, bytes | None]:
        call, thread = super()._prepared(name, keys, arguments)
        return replace(call, script=load_small(name, self.layout.name)), thread


@given(examples(now=NOW))
def test_each_call_that_looks_at_little_leaves_the_thread_whole(
    database: redis.Redis, example: Example
) -> None:
    assert_in_order_after_each_call(LooksAtLittle, database, example)


def sweep(database: redis.Redis, it: Arranged) -> None:
    """Sweep that thread alone."""
    pattern = scan.escape_glob(it.thread)
    rules_ = [Rule(pattern, it.policy)]
    Transport(database).run(Sweeper(it.engine, rules_, match=pattern).sweep())


@given(examples(now=NOW))
def test_a_sweep_loses_nothing_and_leaves_no_checkpoint_that_the_model_deletes(
    database: redis.Redis, example: Example
) -> None:
    it = arranged(example, database)
    checkpoints = {c.key for c in it.decision.thread.checkpoints.values()}

    sweep(database, it)
    after = read_database(database)
    sweep(database, it)

    assert complaints(it.before, after, it.decision, complete=False) == []
    assert complaints(it.before, read_database(database), it.decision, complete=False) == []
    # A thread that has no more than it may have is not looked at.
    if len(checkpoints) > (it.policy.keep_last or 0):
        assert not it.decision.that(Must.DELETE) & checkpoints & after.keys()


def damage_index(database: redis.Redis, it: Arranged, damages: Sequence[DamageIndex]) -> None:
    key = it.engine.index_key(it.thread)
    for damage in damages:
        about = damage.id.encode()
        if damage.damage == "lost":
            database.delete(key)
        elif damage.damage == "missing":
            members: Any = database.zrange(key, 0, -1)
            for member in members:
                if about in member:
                    database.zrem(key, member)
        else:
            database.zadd(key, {b"s" + damage.ns.encode() + b"\0" + about[:-1] + b"g": 0})


@given(examples(now=NOW))
def test_an_index_that_is_damaged_can_only_keep_too_much(
    database: redis.Redis, example: Example
) -> None:
    # Where runs begin is known from the index alone; what it has lost cannot count as a run.
    example = replace(example, policy=replace(example.policy, keep_runs=None))
    it = arranged(example, database)
    transport = Transport(database)
    keys = transport.run(scan.find(it.engine.layout, [it.thread]))[it.thread]
    transport.run(it.engine.update_index(it.thread, keys.writes_seen()))
    damage_index(database, it, example.index_damage)

    it.retention.trim(example.subject.thread_id, it.policy, indexed_only=True)

    assert complaints(it.before, read_database(database), it.decision, complete=False) == []
