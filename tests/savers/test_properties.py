"""Any threads of langgraphgo and any sorted sets, against models in plain Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from redis_retention import Policy
from redis_retention.engine import Place
from redis_retention.layouts import LangGraphGo, SortedSets
from tests.conftest import real_server
from tests.savers.doing import Doing, own_keys
from tests.savers.langgraphgo import Checkpoint, Store, Version
from tests.servers.start import Server


@cache
def server() -> Server:
    real_server("redis-7.0")
    return Server("redis-7.0", modules=()).start()


@pytest.fixture(scope="module")
def database() -> Iterator[redis.Redis]:
    """One database for all examples of a test, which empty it."""
    with server().client() as client:
        yield client


NAMES = st.sampled_from(["a", "b", "a:b", "*"])

# --- langgraphgo ----------------------------------------------------------------------------------


class Written(NamedTuple):
    """A checkpoint, and whether it has expired since."""

    checkpoint: Checkpoint
    expired: bool


@st.composite
def histories(draw: st.DrawFn) -> list[Written]:
    """Checkpoints of several threads and executions, in any order of their versions."""
    written = []
    for number in range(draw(st.integers(1, 25))):
        thread, execution = draw(st.none() | NAMES), draw(NAMES)
        one = Checkpoint(f"c{number}", draw(st.integers(1, 12)), execution, thread)
        written.append(Written(one, draw(st.integers(0, 5)) == 0))
    return written


def owner(one: Checkpoint, version: Version) -> str | None:
    """Whose a checkpoint is."""
    listed = one.thread_id if version is not Version.EXECUTIONS else None
    return listed or one.execution_id


def retained(
    written: Sequence[Written], version: Version, keep: int, pinned: str | None
) -> set[str]:
    """The ids of what a sweep leaves."""
    groups: dict[str | None, list[Checkpoint]] = {}
    for one, expired in written:
        if not expired:
            groups.setdefault(owner(one, version), []).append(one)
    retained = {pinned} if pinned is not None else set()
    for name, group in groups.items():
        group.sort(key=lambda one: (one.version, one.id.encode()))
        retained |= {one.id for one in group[-keep:]}
        # A name may be a thread's and an execution's: each has a newest one.
        for listed in (
            [one for one in group if one.thread_id == name and version is not Version.EXECUTIONS],
            [one for one in group if one.execution_id == name],
        ):
            if listed:
                retained |= _newest(listed, version)
    return retained


def _newest(listed: Sequence[Checkpoint], version: Version) -> set[str]:
    """What the store may take for the newest: a set does not say which of several is."""
    if version is Version.SORTED:
        return {listed[-1].id}
    return {one.id for one in listed if one.version == listed[-1].version}


@pytest.mark.parametrize("version", Version)
@settings(max_examples=40)
@given(data=st.data(), written=histories(), keep=st.integers(1, 6))
def test_a_sweep_of_langgraphgo_leaves_what_the_model_says(
    database: redis.Redis, version: Version, data: st.DataObject, written: list[Written], keep: int
) -> None:
    database.flushall()
    store, doing = Store(database, version), Doing(database, LangGraphGo(), keys_per_call=10)
    for one, _ in written:
        store.save(one)
    for one, expired in written:
        if expired:
            database.delete(store.checkpoint_key(one.id))
    there = [one for one, expired in written if not expired]
    pinned = data.draw(st.none() | st.sampled_from(there)) if there else None
    if pinned is not None:
        its_owner = str(owner(pinned, version)).encode()
        doing.run(doing.pins.pin(its_owner, Place(b"", pinned.id.encode())))
    latest = {name: store.get_latest_by_thread(name) for name in ("a", "b", "a:b", "*")}

    result = doing.sweep(Policy(keep_last=keep))

    expected = retained(written, version, keep, pinned.id if pinned else None)
    stored = {one.id for one, _ in written if store.load(one.id) is not None}
    assert stored == expected
    assert result.checkpoints_deleted == len(there) - len(expected)
    for name, before in latest.items():
        for key in (store.thread_key(name), store.execution_key(name)):
            store_lists = set(_names(database, key))
            listing = {one.id for one, _ in written if _lists(one, key, store, version)}
            assert store_lists & stored == listing & expected
        if before is not None:
            after = store.get_latest_by_thread(name)
            assert after is not None
            assert after["version"] == before["version"]


def _names(client: Any, key: str) -> list[str]:
    found = client.zrange(key, 0, -1) if client.type(key) == b"zset" else client.smembers(key)
    return [name.decode() for name in found]


def _lists(one: Checkpoint, key: str, store: Store, version: Version) -> bool:
    if key == store.execution_key(str(one.execution_id)):
        return True
    in_thread = key == store.thread_key(str(one.thread_id)) and one.thread_id is not None
    return in_thread and version is not Version.EXECUTIONS


# --- sorted sets ----------------------------------------------------------------------------------

MEMBERS = st.dictionaries(
    st.binary(max_size=20), st.floats(0, 40, width=16, allow_nan=False), min_size=1, max_size=40
)


@given(data=st.data(), members=MEMBERS, keep=st.integers(1, 12))
def test_a_trim_of_a_sorted_set_leaves_what_the_model_says(
    database: redis.Redis, data: st.DataObject, members: dict[bytes, float], keep: int
) -> None:
    database.flushall()
    client: Any = database
    client.zadd("checkpoint:t", members)
    doing, policy = Doing(database, SortedSets(), keys_per_call=10), Policy(keep_last=keep)
    ordered = sorted(members, key=lambda member: (members[member], member))
    pinned = data.draw(st.none() | st.integers(0, len(ordered) - 1))
    if pinned is not None:
        doing.run(doing.pins.pin(b"t", doing.plan("t", policy)[pinned].place))
    planned = [bool(one.reasons) for one in doing.plan("t", policy)]

    result = doing.trim("t", policy)

    expected = [m for at, m in enumerate(ordered) if at >= len(ordered) - keep or at == pinned]
    assert client.zrange("checkpoint:t", 0, -1) == expected
    assert [m for m, retained in zip(ordered, planned, strict=True) if retained] == expected
    assert result.checkpoints_deleted == len(ordered) - len(expected)
    assert own_keys(database) <= {b"retention:pins:zset-checkpoint%3A:t"}
