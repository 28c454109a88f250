"""langgraph-checkpoint-plainredis: its own saver, in real graphs, on servers without modules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph_checkpoint_plainredis import RedisSaver

from redis_retention import Policy
from redis_retention.engine import Rule
from redis_retention.layouts import PlainRedis
from redis_retention.sources.keyspace import Listener
from tests.graphs.scenarios import ALL, Observation, ReplaySubgraph, Scenario
from tests.integration.threads import ids
from tests.integration.watching import Changes, changes
from tests.savers.conftest import WITHOUT_MODULES
from tests.savers.doing import Doing, commands_used, own_keys, snapshot
from tests.savers.test_properties import database as database
from tests.servers.start import Server

THREAD = "user:1"
CONFIG: RunnableConfig = {"configurable": {"thread_id": THREAD}}
KEEP_2 = Policy(keep_last=2)
LONG_AGO = 9 * 3600.0


@pytest.fixture
def saver(bare: redis.Redis) -> RedisSaver:
    return RedisSaver(bare)


def delete_blobs(
    doing: Doing, documents: Sequence[bytes], shared: Sequence[bytes]
) -> tuple[int, int]:
    """As at the end of a look that has met these; how many are deleted, and how many wait."""
    thread = THREAD.encode()
    mark = doing.run(doing.engine.begin_look([thread]))[thread].entry
    delete = doing.engine.delete_shared_keys(thread, documents, shared, mark=mark)
    deleted, waiting = doing.run(delete)
    return deleted.keys, waiting


@pytest.fixture
def doing(bare: redis.Redis) -> Doing:
    return Doing(bare, PlainRedis())


class Key(NamedTuple):
    ns: str
    id: str


def stored(saver: RedisSaver, thread: str = THREAD) -> dict[Key, CheckpointTuple]:
    """Each checkpoint of a thread as LangGraph reads it."""
    found = saver.list({"configurable": {"thread_id": thread}})
    places = [(one.config["configurable"], one) for one in found]
    return {Key(place["checkpoint_ns"], place["checkpoint_id"]): one for place, one in places}


def blobs(client: redis.Redis) -> set[str]:
    return {key.decode() for key in client.scan_iter("lg:blob:*", count=1000)}


def blobs_named(saver: RedisSaver, thread: str = THREAD) -> set[str]:
    """The blobs that the checkpoints of a thread name."""
    return {
        key
        for place, one in stored(saver, thread).items()
        for key in saver._blob_keys(thread, place.ns, one.checkpoint["channel_versions"])
    }


def put(
    saver: RedisSaver,
    thread: str,
    checkpoint_id: str,
    parent: str | None,
    versions: dict[str, int],
    written: Sequence[str],
    *,
    ns: str = "",
    writes: bool = True,
) -> None:
    """Put a checkpoint with these versions of channels, some of which its step has written."""
    configurable = {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": parent}
    values = {name: f"{name} {version}" for name, version in versions.items()}
    checkpoint: Any = {**empty_checkpoint(), "id": checkpoint_id, "v": 4}
    checkpoint |= {"channel_values": values, "channel_versions": versions}
    new: Any = {name: versions[name] for name in written}
    config: Any = {"configurable": configurable}
    done = saver.put(config, checkpoint, {"source": "loop", "step": 0}, new)
    if writes:
        saver.put_writes(done, [("a", 1), ("b", 2)], "task")


def fill(saver: RedisSaver, thread: str, count: int, age: float = LONG_AGO) -> list[str]:
    """A line of checkpoints that share a channel, and each have a value of another."""
    made = ids(count, newest_age=age)
    parent = None
    for number, one in enumerate(made):
        written = ["each"] if number else ["each", "first"]
        put(saver, thread, one, parent, {"each": number + 1, "first": 1}, written)
        parent = one
    return made


def in_any_order(seen: Sequence[Observation]) -> list[Observation]:
    """The same with the lines of parallel tasks sorted, of which a delta channel has the order."""
    return [
        replace(one, values={**one.values, "lines": sorted(one.values["lines"])})
        if "lines" in one.values
        else one
        for one in seen
    ]


# --- graphs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bare_server", "scenario"),
    # Each on one of the servers, in turn.
    [
        pytest.param(WITHOUT_MODULES[at % len(WITHOUT_MODULES)], scenario, id=scenario.name)
        for at, scenario in enumerate(ALL)
    ],
    indirect=["bare_server"],
)
def test_a_graph_that_is_trimmed_after_each_step_runs_as_if_it_were_not(
    saver: RedisSaver, doing: Doing, scenario: Scenario
) -> None:
    # A replay looks for what a stateful subgraph has put before, a few checkpoints for each root.
    keep = 12 if isinstance(scenario, ReplaySubgraph) else scenario.goes_back
    policy, deleted = Policy(keep_last=keep), 0

    def trim() -> None:
        nonlocal deleted
        before = stored(saver)
        deleted += doing.trim(THREAD, policy).checkpoints_deleted
        after = stored(saver)
        assert after == {key: before[key] for key in after}
        assert blobs(saver.client) == blobs_named(saver)

    seen = scenario.run(scenario.build(saver), CONFIG, trim)

    control = RedisSaver(saver.client, prefix="control")
    assert in_any_order(seen) == in_any_order(scenario.run(scenario.build(control), CONFIG))
    assert deleted
    assert own_keys(saver.client) <= {f"retention:index:plainredis-lg:{THREAD}".encode()}


def test_no_command_of_a_module_is_used(saver: RedisSaver, doing: Doing) -> None:
    fill(saver, THREAD, 6)
    saver.client.config_resetstat()
    doing.sweep(KEEP_2)
    assert not [name for name in commands_used(saver.client) if name.startswith(("json", "ft"))]


# --- trims ----------------------------------------------------------------------------------------


def test_a_trim_leaves_nothing_of_what_it_deletes(saver: RedisSaver, doing: Doing) -> None:
    made = fill(saver, THREAD, 6)
    before, keys = stored(saver), saver.client.dbsize()

    planned = doing.trim(THREAD, KEEP_2, dry_run=True)
    result = doing.trim(THREAD, KEEP_2)

    kept = {Key("", one) for one in made[-2:]}
    assert stored(saver) == {key: before[key] for key in kept}
    assert blobs(saver.client) == blobs_named(saver)
    assert saver.client.zcard(f"lg:idx:{THREAD}:") == 2
    # An index of ours has come.
    assert result.keys_deleted == planned.keys_deleted == keys - saver.client.dbsize() + 1
    assert (result.checkpoints_deleted, result.checkpoints_kept) == (4, 2)


def test_a_thread_that_has_expired_leaves_nothing(saver: RedisSaver, doing: Doing) -> None:
    fill(saver, THREAD, 3)

    doing.sweep(Policy(expire_after=timedelta(hours=1)))

    assert set(saver.client.scan_iter()) == {b"lg:seq"}


def test_what_is_put_last_is_retained_however_old_its_id_is(
    saver: RedisSaver, doing: Doing
) -> None:
    made = ids(5, newest_age=LONG_AGO)
    for number, one in enumerate([*made[1:], made[0]]):
        put(saver, THREAD, one, None, {"a": number + 1}, ["a"])
    latest = saver.get_tuple(CONFIG)

    doing.trim(THREAD, KEEP_2)

    assert saver.get_tuple(CONFIG) == latest
    assert {key.id for key in stored(saver)} == {made[0], *made[-2:]}


def test_writes_that_come_after_their_checkpoint_is_gone_go_with_a_sweep(
    saver: RedisSaver, doing: Doing
) -> None:
    ns = "node:0123abcd-0123-0123-0123-0123456789ab"
    made = fill(saver, THREAD, 4)
    put(saver, THREAD, made[1], None, {"a": 1}, ["a"], ns=ns)
    doing.trim(THREAD, KEEP_2)
    for place in ("", ns):
        late = {"thread_id": THREAD, "checkpoint_ns": place, "checkpoint_id": made[1]}
        saver.put_writes({"configurable": late}, [("a", 1)], "task")
        assert saver.client.exists(f"lg:wr:{THREAD}:{place}:{made[1]}")

    doing.sweep(KEEP_2)

    assert not saver.client.exists(f"lg:wr:{THREAD}::{made[1]}")


@pytest.mark.parametrize("prefix", ["lg", "my app/*", "a:b"])
def test_a_saver_with_another_prefix_is_not_touched(bare: redis.Redis, prefix: str) -> None:
    savers = [RedisSaver(bare, prefix=one) for one in ("lg", "my app/*", "a:b")]
    for one in savers:
        fill(one, THREAD, 5)
    before = snapshot(bare)
    Doing(bare, PlainRedis(prefix)).sweep(KEEP_2)
    found = changes(before, snapshot(bare))
    assert found.gone
    assert all(key.startswith(f"{prefix}:".encode()) for key in found.gone | found.changed)


def test_keys_of_other_types_are_left_alone(bare: redis.Redis, doing: Doing) -> None:
    for name in ids(4, newest_age=LONG_AGO):
        bare.hset(f"lg:cp:a::{name}", "field", "value")
        bare.set(f"lg:cp:b::{name}", "text")
    bare.set("lg:idx:a:", "text")
    bare.set("lg:threads", "text")
    before = snapshot(bare)
    doing.sweep(KEEP_2)
    for thread in "ab":
        doing.trim(thread, KEEP_2)
    assert changes(before, snapshot(bare)) == Changes()


# --- blobs ----------------------------------------------------------------------------------------


def test_what_a_look_at_the_database_has_missed_keeps_its_blobs(
    saver: RedisSaver, doing: Doing
) -> None:
    made = fill(saver, THREAD, 4)
    doing.trim(THREAD, KEEP_2)
    put(saver, THREAD, ids(1)[0], made[-1], {"each": 9, "first": 1}, ["each"])
    saver.client.set(f"lg:blob:{THREAD}::each:7", "over")
    shared = [name.encode() for name in blobs(saver.client)]

    # As if it had met none of the documents.
    assert delete_blobs(doing, [], shared) == (1, 0)
    assert blobs(saver.client) == blobs_named(saver)


def test_more_than_one_call_reads_keep_theirs_while_they_are_young(
    saver: RedisSaver, doing: Doing
) -> None:
    fill(saver, THREAD, 70, age=0)
    shared = [name.encode() for name in blobs(saver.client)]
    delete_blobs(doing, [], shared)
    assert blobs(saver.client) == blobs_named(saver)


def test_blobs_stay_that_may_be_another_threads(saver: RedisSaver, doing: Doing) -> None:
    for thread in ("a", "a::b"):
        fill(saver, thread, 5)
    doing.sweep(KEEP_2)
    assert blobs(saver.client) > blobs_named(saver, "a") | blobs_named(saver, "a::b")
    assert [len(stored(saver, thread)) for thread in ("a", "a::b")] == [2, 2]
    assert {name for name in blobs(saver.client) if not name.startswith("lg:blob:a::b::")} == (
        blobs_named(saver, "a")
    )


class Sealing(JsonPlusSerializer):
    """As an encrypting serializer: another type, and bytes that say nothing."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        kind, data = super().dumps_typed(obj)
        return f"{kind}+sealed", bytes(255 - byte for byte in data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        kind, _, _ = data[0].partition("+")
        return super().loads_typed((kind, bytes(255 - byte for byte in data[1])))


def test_what_cannot_be_read_is_left_alone_and_reported(bare: redis.Redis, doing: Doing) -> None:
    sealed, plain = RedisSaver(bare, serde=Sealing()), RedisSaver(bare)
    fill(sealed, "sealed", 5)
    fill(plain, "plain", 5)
    before = {key: value for key, value in snapshot(bare).items() if b":sealed:" in key}

    swept, trimmed = doing.sweep(KEEP_2), doing.trim("sealed", KEEP_2)

    after = {key: value for key, value in snapshot(bare).items() if b":sealed:" in key}
    assert {key: after[key] for key in before} == before
    assert trimmed.left_alone
    assert swept.threads_trimmed == 1
    assert len(stored(plain, "plain")) == 2


def test_blobs_stay_where_one_document_cannot_be_read(saver: RedisSaver, doing: Doing) -> None:
    fill(saver, THREAD, 4)
    doing.trim(THREAD, KEEP_2)
    saver.client.set(f"lg:blob:{THREAD}::each:7", "over")
    shared = [name.encode() for name in blobs(saver.client)]
    documents = list(saver.client.scan_iter(f"lg:cp:{THREAD}:*"))
    saver.client.set(f"lg:cp:{THREAD}:sub:another", '{"t": "msgpack", "d": "kA=="}')
    unread = [*documents, f"lg:cp:{THREAD}:sub:another".encode()]

    assert delete_blobs(doing, unread, shared) == (0, len(shared))
    assert delete_blobs(doing, documents, shared) == (1, 0)


# --- what is served by itself ---------------------------------------------------------------------


async def test_the_listener_trims_what_crosses_its_trigger(bare_server: Server) -> None:
    listening = redis.asyncio.Redis(port=bare_server.port)
    with bare_server.client() as client:
        client.flushall()
        client.config_set("notify-keyspace-events", "K$gx")
        saver, doing = RedisSaver(client), Doing(client, PlainRedis())
        listener = Listener(listening, doing.engine, [Rule(b"*", KEEP_2, trigger=4)])
        running = asyncio.create_task(listener.run())
        try:
            await listener.settled()
            await asyncio.to_thread(fill, saver, THREAD, 5)
            deadline = time.monotonic() + 30
            while len(stored(saver)) != 2 and time.monotonic() < deadline:
                await asyncio.sleep(0.01)
            assert len(stored(saver)) == 2
        finally:
            listener.stop()
            await running
            await listening.aclose()


# --- any history, against a model in plain Python -------------------------------------------------


class Made(NamedTuple):
    """A checkpoint of a random history.

    Attributes:
        thread: Whose it is.
        at: Where its id is among all, which need not be the order in which they are put.
        parent: Its parent, by its place among those of its thread put before; None without one.
        written: The channels that it writes.
        expired: Whether its document is gone.
    """

    thread: str
    at: int
    parent: int | None
    written: frozenset[str]
    expired: bool


@st.composite
def histories(draw: st.DrawFn) -> list[Made]:
    order = draw(st.permutations(range(draw(st.integers(1, 18)))))
    made: list[Made] = []
    for at in order:
        thread = draw(st.sampled_from(["a", "b", "a:b", "*"]))
        before = sum(one.thread == thread for one in made)
        parent = draw(st.none() | st.integers(0, before - 1)) if before else None
        written = draw(st.frozensets(st.sampled_from(["x", "y", "branch:to:z"]), min_size=1))
        made.append(Made(thread, at, parent, written, draw(st.integers(0, 6)) == 0))
    return made


@settings(max_examples=15)
@given(history=histories(), keep=st.integers(1, 4), twice=st.booleans())
def test_a_sweep_leaves_what_the_model_says(
    database: redis.Redis, history: list[Made], keep: int, twice: bool
) -> None:
    database.flushall()
    saver, names = RedisSaver(database), ids(len(history), newest_age=LONG_AGO)
    doing = Doing(database, PlainRedis(), keys_per_call=10)
    of_thread: dict[str, list[tuple[Made, dict[str, int]]]] = {}
    for one in history:
        line = of_thread.setdefault(one.thread, [])
        parent, versions = line[one.parent] if one.parent is not None else (None, {})
        highest = max(versions.values(), default=0)
        its = {**versions, **dict.fromkeys(one.written, highest + 1)}
        parent_id = names[parent.at] if parent else None
        put(saver, one.thread, names[one.at], parent_id, its, sorted(one.written))
        line.append((one, its))
    expected: dict[str, set[str]] = {}
    expected_blobs: set[str] = set()
    for thread, line in of_thread.items():
        latest = line[-1][0]
        there = [(one, its) for one, its in line if not one.expired or one is latest]
        for one, _ in line:
            if one.expired and one is not latest:
                database.delete(f"lg:cp:{thread}::{names[one.at]}")
        newest = sorted(one.at for one, _ in there)[-keep:]
        kept = [(one, its) for one, its in there if one.at in newest or one is latest]
        expected[thread] = {names[one.at] for one, _ in kept}
        for _, its in kept:
            expected_blobs |= set(saver._blob_keys(thread, "", its))
    before = {thread: stored(saver, thread) for thread in of_thread}

    doing.sweep(Policy(keep_last=keep))
    if twice:
        doing.sweep(Policy(keep_last=keep))

    for thread in of_thread:
        after = stored(saver, thread)
        assert {key.id for key in after} == expected[thread]
        assert after == {key: before[thread][key] for key in after}
    assert blobs(database) == expected_blobs
