"""The model's own tests: how it compares, what it reads, what LangGraph reads after its trims."""

from __future__ import annotations

import logging
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, given, settings

from tests.model.by_hand import NODE, TASK, c1, c2, c3, chain, subgraph
from tests.model.rules import (
    Must,
    Policy,
    ThreadDecision,
    boundary_complaints,
    complaints,
    decide,
    id_time,
    trimmed,
)
from tests.model.snapshot import (
    Checkpoint,
    Database,
    Entry,
    Prefixes,
    Thread,
    difference,
    read_database,
    read_thread,
    without,
)
from tests.model.threads import (
    NOW,
    Example,
    Expire,
    Operation,
    PutCheckpoint,
    PutWrites,
    examples,
    timeless_id_at,
    ulid_at,
    uuid6_at,
    write_to,
)


class TestComparing:
    OPERATIONS = (
        *chain(c1, c3),
        PutWrites("", c1, TASK, ("messages", "log")),
        *subgraph(NODE, c1, c2),
    )

    @pytest.fixture
    def before(self, fake: redis.Redis) -> Database:
        write_to(fake, "t", self.OPERATIONS)
        fake.set("store:t", "x")
        return read_database(fake)

    def test_a_perfect_trim(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        assert not complaints(before, trimmed(before, decision), decision)

    def test_too_little_too_much_and_somebody_else(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        after = without(before, [b"store:t", Prefixes().document("t", "", c3)])
        found = complaints(before, after, decision)
        assert f"must be retained: checkpoint:t:__empty__:{c3} (checkpoint required)" in found
        assert "must be retained: store:t (not the thread's)" in found
        assert f"must be deleted: checkpoint:t:__empty__:{c1} (checkpoint deleted)" in found

    def test_new_keys_and_other_ttls(self, before: Database) -> None:
        decision = decide(before, "t", Policy(9), NOW)
        key = Prefixes().document("t", "", c3)
        after = before | {
            key: Entry(before[key].kind, before[key].value, 5),
            b"tmp": Entry("string", b""),
            b"retention:t": Entry("string", b""),
        }
        assert complaints(before, after, decision) == [
            f"changed: checkpoint:t:__empty__:{c3} (checkpoint required)",
            "new: tmp",
        ]

    def test_between_two_calls_a_checkpoint_is_whole_or_gone(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        document = Prefixes().document("t", "", c1)
        write = Prefixes().write_document("t", "", c1, TASK, 0)
        assert not boundary_complaints(before, without(before, [document]), decision)
        assert boundary_complaints(before, without(before, [write]), decision) == [
            f"its document is still there: checkpoint_write:t:__empty__:{c1}:{TASK}:0"
        ]

    def test_between_two_calls_no_root_is_without_its_subgraph(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        inner = Prefixes().document("t", NODE, c2)
        root = Prefixes().document("t", "", c1)
        pointer = Prefixes().pointer("t", NODE)
        assert boundary_complaints(before, without(before, [inner, pointer]), decision) == [
            f"subgraph of {c1} is incomplete: checkpoint:t:{NODE}:{c2}"
        ]
        assert not boundary_complaints(before, without(before, [root, inner, pointer]), decision)

    def test_between_two_calls_no_checkpoint_is_without_its_pointer(self, before: Database) -> None:
        decision = decide(before, "t", Policy(1), NOW)
        pointer = Prefixes().pointer("t", NODE)
        assert boundary_complaints(before, without(before, [pointer]), decision) == [
            f"pointer before its checkpoints: checkpoint_latest:t:{NODE}"
        ]


class TestSnapshot:
    def test_every_type_is_read_whole(self, fake: redis.Redis) -> None:
        fake.set("string", "a\r\n")
        fake.hset("hash", "field", "value")
        fake.zadd("zset", {"b": 2, "a": 1})
        fake.sadd("set", "x", "y")
        fake.rpush("list", "1", "2")
        fake.json().set("json", "$", {"a": 1.0})
        fake.expire("json", 100)
        database = read_database(fake)
        assert {key: entry.kind for key, entry in database.items()} == {
            kind.encode(): kind for kind in ("string", "hash", "zset", "set", "list", "json")
        }
        assert database[b"zset"].value == ((b"a", 1.0), (b"b", 2.0))
        assert database[b"json"].expires_at is not None
        assert not difference(database, read_database(fake))

    def test_a_change_of_one_byte_or_of_the_ttl_shows(self, fake: redis.Redis) -> None:
        write_to(fake, "t", [*chain(c1, c2), Expire("", c1)])
        before = read_database(fake)
        fake.persist(f"checkpoint:t:__empty__:{c1}")
        fake.json().set(f"checkpoint:t:__empty__:{c2}", "$.has_writes", True)
        changed = difference(before, read_database(fake)).changed
        assert changed == {Prefixes().document("t", "", cid) for cid in (c1, c2)}


def test_times_in_ids() -> None:
    assert id_time(uuid6_at(NOW)) == pytest.approx(NOW)
    assert id_time(ulid_at(NOW)) == pytest.approx(NOW)
    assert id_time(timeless_id_at(NOW)) is None
    assert id_time("checkpoint-1") is None


def database_of(example: Example) -> tuple[redis.Redis, Database]:
    fake = fakeredis.FakeRedis(server=fakeredis.FakeServer())
    example.write(fake)
    return fake, read_database(fake)


random_threads = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(examples())
@random_threads
def test_a_second_trim_finds_nothing(example: Example) -> None:
    """A second trim by the same policy retains what the first one retained.

    `keep-runs` is left out: next to pins, what is left of a run may count as one more.
    """
    _, before = database_of(example)
    p = example.policy
    policy = Policy(p.keep_last, p.keep_within, None, p.pinned)
    first = decide(before, example.thread_id, policy, example.now, example.prefixes)
    after = trimmed(before, first)
    assert not complaints(before, after, first)
    assert not boundary_complaints(before, after, first)
    second = decide(after, example.thread_id, policy, example.now, example.prefixes)
    assert second.retained == first.retained
    assert not second.deleted


@given(examples())
@random_threads
def test_every_key_has_one_decision_and_only_those_of_the_thread_have(example: Example) -> None:
    _, before = database_of(example)
    decision = decide(before, example.thread_id, example.policy, example.now, example.prefixes)
    assert decision.keys.keys() == decision.thread.keys <= before.keys()
    for other in example.bystanders:
        sure = read_thread(before, other.thread_id, other.prefixes)
        assert not (sure.keys - sure.unsure) & (decision.that(Must.DELETE))


def real_saver(fake: redis.Redis, prefixes: Prefixes | None = None) -> Any:
    """`RedisSaver` on fakeredis: no `setup`, which needs search indexes."""
    saver_module = pytest.importorskip("langgraph.checkpoint.redis")
    registry_module = pytest.importorskip("langgraph.checkpoint.redis.key_registry")
    prefixes = prefixes or Prefixes()
    saver = saver_module.RedisSaver(
        redis_client=fake,
        checkpoint_prefix=prefixes.checkpoint,
        checkpoint_write_prefix=prefixes.write,
    )
    saver._key_registry = registry_module.SyncCheckpointKeyRegistry(fake)
    return saver


def readings(fake: redis.Redis, example: Example, decision: ThreadDecision) -> dict[Any, Any]:
    """All that LangGraph reads of the retained checkpoints."""
    saver = real_saver(fake, example.prefixes)
    found: dict[Any, Any] = {}
    for ns, cid in decision.retained:
        one = decision.checkpoints[ns, cid]
        where = {"thread_id": example.thread_id, "checkpoint_ns": ns, "checkpoint_id": cid}
        config = {"configurable": where}
        read = saver.get_tuple(config)._asdict()
        if (one.checkpoint.v or 0) >= 4:
            read["checkpoint"] = {**read["checkpoint"], "pending_sends": None}
        found[ns, cid] = read
        # What is there for a replay only is not resumed from (rules 4 and 5). LangGraph walks
        # round and round where a checkpoint is its own ancestor.
        is_resumed = one.kept_by_policy or one.required.keys() & {"latest", "subgraph"}
        if is_resumed and not is_own_ancestor(decision.thread, one.checkpoint):
            replayed = [
                channel
                for channel in one.checkpoint.counters & one.checkpoint.versions
                if channel not in one.checkpoint.values
            ]
            history = saver.get_delta_channel_history(config=config, channels=sorted(replayed))
            found[ns, cid, "history"] = history
    for ns in {ns for ns, _ in decision.retained}:
        # What a thread resumes from; a pointer at nothing reads as nothing anyway.
        decision_here = [v for v in decision.checkpoints.values() if v.checkpoint.ns == ns]
        if decision.thread.targets.get(ns) in {v.checkpoint.key for v in decision_here}:
            where = {"thread_id": example.thread_id, "checkpoint_ns": ns}
            read = saver.get_tuple({"configurable": where})
            found[ns, "latest"] = read and (read.checkpoint["id"], read.metadata)
    return found


def is_own_ancestor(thread: Thread, checkpoint: Checkpoint) -> bool:
    """Whether the way up from a checkpoint has no end. The saver reads a stub as its own parent."""
    stubs = set(thread.stubs.values())
    passed: set[str] = set()
    found = checkpoint
    while found.id not in passed:
        passed.add(found.id)
        place = (found.ns, found.parent)
        if place in stubs:
            return True
        if not found.parent or place not in thread.checkpoints:
            return False
        found = thread.checkpoints[place]
    return True


@given(examples())
@random_threads
def test_langgraph_reads_the_same_before_and_after(example: Example) -> None:
    """The golden rule, by the real saver: the rules as read here are enough."""
    logging.getLogger("langgraph.checkpoint.redis").setLevel(logging.ERROR)
    fake, before = database_of(example)
    decision = decide(before, example.thread_id, example.policy, example.now, example.prefixes)
    expected = readings(fake, example, decision)
    for key in decision.that(Must.DELETE) | decision.that(Must.EITHER):
        fake.delete(key)
    assert readings(fake, example, decision) == expected


def test_threads_are_stored_as_the_saver_stores_them(fake: redis.Redis) -> None:
    """The same keys, fields and values in the same order; only the times of the puts differ."""
    saver = real_saver(fake)
    config: Any = {"configurable": {"thread_id": "real", "checkpoint_ns": NODE}}
    for n, cid in enumerate((c1, c2)):
        checkpoint = {  # in the order in which LangGraph fills it
            "v": 4,
            "ts": "",
            "id": cid,
            "channel_values": {"messages": [f"messages at {cid}"]},
            "channel_versions": {"messages": f"{n + 2:032}.0.5000000000000000"},
            "versions_seen": {"__input__": {}},
            "updated_channels": ["messages"],
        }
        metadata = {
            "source": "loop",
            "step": n,
            "parents": {"": c1},
            "run_id": "r",
            "counters_since_delta_snapshot": {"log": (1, 2)},
        }
        config = saver.put(config, checkpoint, metadata, {})
    saver.put_writes(config, [("messages", ["0007 wrote messages"])], TASK, "path")
    saver.put_writes(config, [("__interrupt__", ["0007 wrote __interrupt__"])], TASK, "path")

    fields: dict[str, Any] = {
        "parents": (("", c1),),
        "counters": (("log", (1, 2)),),
        "run_id": "r",
    }
    ours: list[Operation] = [
        PutCheckpoint(NODE, c1, step=0, **fields),
        PutCheckpoint(NODE, c2, c1, step=1, **fields),
        PutWrites(NODE, c2, TASK, ("messages",), "path"),
        PutWrites(NODE, c2, TASK, ("__interrupt__",), "path"),
    ]
    write_to(fake, "ours", ours)

    def shape(thread: str) -> dict[str, Any]:
        shapes: dict[str, Any] = {}
        for key, entry in read_database(fake).items():
            name = key.decode()
            if f":{thread}:" in name:
                value: Any = entry.value
                if entry.kind == "json":
                    value = fake.json().get(name)
                    value.pop("checkpoint_ts", None)
                    value.get("checkpoint", {}).pop("ts", None)
                shapes[name.replace(f":{thread}:", ":T:")] = (
                    entry.kind,
                    str(value).replace(f":{thread}:", ":T:").replace(f"'{thread}'", "'T'"),
                )
        return shapes

    assert shape("ours") == shape("real")
