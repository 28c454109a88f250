"""Which blobs a trim and a sweep of LangGraph.js' format delete, and which they must not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import redis

from redis_retention import Policy, Retention
from redis_retention.engine import Deleted
from redis_retention.sources import shared_keys
from redis_retention.transport import Transport
from tests.integration.threads import ids
from tests.langgraph_js.cleaning import (
    KEEP_2,
    OLD,
    dry_run,
    engine,
    line,
    sweep,
    trim,
    trim_by_index,
)
from tests.langgraph_js.documents import (
    Line,
    blob_key,
    blobs,
    channel_values,
    checkpoint_key,
    documents,
    put_blobs,
    put_document,
    put_writes,
    state,
)

KEEP_1 = Policy(keep_last=1)

Cleaner: TypeAlias = Callable[..., int]

both = pytest.mark.parametrize("clean", [trim, sweep])


@both
def test_blobs_of_deleted_checkpoints_are_deleted(client: redis.Redis, clean: Cleaner) -> None:
    made = ids(6, newest_age=OLD)
    line(client, made)

    keys = clean(client)

    assert documents(client) == {f"a::{one}" for one in made[-2:]}
    assert blobs(client) == {"a::log:5", "a::log:6"}
    # Of each checkpoint a document, two writes, a registry and a blob.
    assert keys == 4 * 5


def test_a_dry_run_counts_what_a_trim_deletes(stack: redis.Redis) -> None:
    made = ids(6)
    its = line(stack, made[:3])
    its.add(made[3], ("slow",))
    for one in made[4:]:
        its.add(one)
    before = state(stack)

    counted = dry_run(stack)

    assert state(stack) == before
    assert counted == trim(stack)


@both
def test_what_a_retained_checkpoint_reads_is_retained(client: redis.Redis, clean: Cleaner) -> None:
    made = ids(6, newest_age=OLD)
    its = Line(client, "a")
    its.add(made[0], ("profile", "log"))
    for one in made[1:]:
        its.add(one)
    before = channel_values(client, "a", "", made[-1])

    clean(client, KEEP_1)

    assert before["profile"] == f"profile@{made[0]}"
    assert channel_values(client, "a", "", made[-1]) == before
    assert blobs(client) == {"a::profile:1", "a::log:6"}


@both
def test_a_fork_of_a_retained_checkpoint_finds_the_values_that_this_has_itself(
    stack: redis.Redis, clean: Cleaner
) -> None:
    made = ids(7, newest_age=OLD)
    its = line(stack, made[:5])
    clean(stack, KEEP_1)

    its.add(made[5], ("other",))

    assert channel_values(stack, "a", "", made[5])["log"] == f"log@{made[4]}"


@both
def test_what_a_fork_names_is_retained(stack: redis.Redis, clean: Cleaner) -> None:
    made = ids(8, newest_age=OLD)
    its = line(stack, made[:2])
    fork = its.fork()
    for one in made[2:6]:
        its.add(one)
    fork.add(made[6], ("other",))
    fork.add(made[7], ("other",))
    before = channel_values(stack, "a", "", made[7])

    clean(stack, KEEP_2)

    assert before["log"] == f"log@{made[1]}"
    assert channel_values(stack, "a", "", made[7]) == before


def test_what_a_checkpoint_names_that_no_index_knows_is_retained(stack: redis.Redis) -> None:
    made = ids(8, newest_age=OLD)
    its = line(stack, made[:2])
    fork = its.fork()
    for one in made[2:6]:
        its.add(one)
    Transport(stack).run(engine().add([checkpoint_key("a", "", one).encode() for one in made[:6]]))
    fork.add(made[6], ("other",))
    before = channel_values(stack, "a", "", made[6])

    trim_by_index(stack, KEEP_1)
    assert channel_values(stack, "a", "", made[6]) == before
    sweep(stack, Policy(keep_last=3))
    assert channel_values(stack, "a", "", made[6]) == before


@both
def test_blobs_ahead_of_their_document_are_retained(stack: redis.Redis, clean: Cleaner) -> None:
    *made, late = ids(5)
    versions = {**line(stack, made).versions, "log": 9}
    put_blobs(stack, "a", late, {"log": "on its way"}, versions)

    clean(stack, KEEP_1)
    put_document(stack, "a", late, {"log": "on its way"}, versions, parent=made[-1])

    assert "a::log:9" in blobs(stack)


@both
def test_a_version_that_a_fork_on_its_way_has_written_anew_is_retained(
    stack: redis.Redis, clean: Cleaner
) -> None:
    *made, late = ids(6)
    its = line(stack, made)
    put_blobs(stack, "a", late, {"log": "of the fork"}, {"log": 2})

    clean(stack, KEEP_1)

    assert blobs(stack) >= {"a::log:2", f"a::log:{its.versions['log']}"}


@both
def test_blobs_of_pythons_old_releases_are_retained(stack: redis.Redis, clean: Cleaner) -> None:
    made = ids(6, newest_age=OLD)
    line(stack, made)
    document = {"thread_id": "a", "checkpoint_ns": "__empty__", "checkpoint_id": made[0]}
    stack.json().set("checkpoint_blob:a:__empty__:log:1", "$", document)

    clean(stack)

    assert blobs(stack) == {"a:__empty__:log:1", "a::log:5", "a::log:6"}


def test_a_sweep_gets_what_a_writer_has_left_who_died_before_its_document(
    stack: redis.Redis,
) -> None:
    dead, *made = ids(3, newest_age=OLD)
    line(stack, made)
    put_blobs(stack, "a", dead, {"log": "lost"}, {"log": 77})

    assert sweep(stack) == 1
    assert blobs(stack) == {"a::log:1", "a::log:2"}


def test_the_next_trim_deletes_what_a_late_write_has_brought_back(stack: redis.Redis) -> None:
    made = ids(4)
    line(stack, made)
    old: Any = stack.json().get(checkpoint_key("a", "", made[0]))
    trim(stack)
    retained = state(stack)

    put_writes(stack, "a", made[0])
    stack.json().set(checkpoint_key("a", "", made[0]), "$", old)
    trim(stack)

    assert state(stack) == retained


def test_a_trim_by_the_index_leaves_the_blobs_to_a_sweep(stack: redis.Redis) -> None:
    made = ids(6, newest_age=OLD)
    line(stack, made)
    Transport(stack).run(engine().add([checkpoint_key("a", "", one).encode() for one in made]))

    assert trim_by_index(stack) == 4 * 4
    assert len(blobs(stack)) == 6
    assert sweep(stack) == 4
    assert blobs(stack) == {"a::log:5", "a::log:6"}


def test_the_proof_does_not_rest_on_an_index(stack: redis.Redis) -> None:
    made = ids(4, newest_age=OLD)
    its = Line(stack, "a")
    its.add(made[0], ("profile",))
    for one in made[1:]:
        its.add(one)
    sweep(stack)
    before = channel_values(stack, "a", "", made[-1])
    index = engine().index_key(b"a")
    # An index that has lost what is retained, and says that something may be left.
    stack.zremrangebylex(index, "-", "+")
    stack.zadd(index, {b"a0000000000001": 0, b"s\0" + made[0].encode(): 0})

    sweep(stack)

    assert channel_values(stack, "a", "", made[-1]) == before


def look_for_blobs(client: redis.Redis, looked_at: Callable[[], None]) -> None:
    """As a sweep does at its end."""
    threads: dict[bytes, tuple[()]] = {b"a": ()}
    looking = shared_keys.delete_unneeded(engine(), threads, looked_at=lambda _: looked_at())
    Transport(client).run(looking)


def trim_nothing(client: redis.Redis, looked_at: Callable[[], None]) -> None:
    """A trim that is to look for orphans, and has no checkpoint to delete."""
    retention = Retention(client, layout="langgraph-js", grace=timedelta(0))
    keep_all = Policy(keep_last=250)
    retention.trim("a", keep_all, on_scan=lambda so_far: looked_at() if so_far.keys else None)


@pytest.mark.parametrize("look", [look_for_blobs, trim_nothing])
def test_a_trim_in_the_middle_of_a_look_leaves_the_blobs_to_the_next_one(
    stack: redis.Redis, look: Callable[[redis.Redis, Callable[[], None]], None]
) -> None:
    made = ids(3, newest_age=OLD)
    its = Line(stack, "a")
    its.add(made[0], ("profile",))
    its.add(made[1])
    sweep(stack)

    def once() -> None:
        if its.newest == made[1]:
            # The look has found its parent, and does not find it any more.
            its.add(made[2])
            Transport(stack).run(engine().add([checkpoint_key("a", "", made[2]).encode()]))
            trim_by_index(stack, KEEP_1)

    look(stack, once)

    assert documents(stack) == {f"a::{made[2]}"}
    assert channel_values(stack, "a", "", made[2]) == {
        "profile": f"profile@{made[0]}",
        "log": f"log@{made[2]}",
    }
    sweep(stack, KEEP_1)
    assert blobs(stack) == {"a::profile:1", "a::log:3"}


def test_two_trims_in_one_millisecond_leave_different_marks(stack: redis.Redis) -> None:
    made = ids(4, newest_age=OLD)
    line(stack, made)
    sweep(stack, Policy(keep_last=250))
    index = engine().index_key(b"a")
    # As if the clock had been an hour ahead.
    stack.zadd(index, {b"a9000000000000": 0})

    trim_by_index(stack, KEEP_2)

    assert stack.zrange(index, 0, 0) == [b"a9000000000001"]


def test_a_look_leaves_no_index_of_a_thread_that_has_none(stack: redis.Redis) -> None:
    put_blobs(stack, "a", ids(1)[0], {"log": "on its way"}, {"log": 1})
    sweep(stack)
    assert blobs(stack) == {"a::log:1"}
    assert not stack.exists(engine().index_key(b"a"))


def test_a_second_sweep_finds_nothing_to_do(stack: redis.Redis) -> None:
    line(stack, ids(6, newest_age=OLD))
    sweep(stack)
    before = state(stack)
    stack.config_resetstat()

    assert sweep(stack) == 0
    # One look at the whole database, and none for shared keys.
    assert stack.info("commandstats")["cmdstat_scan"]["calls"] == 1
    assert state(stack) == before


@both
def test_namespaces_have_versions_of_their_own(stack: redis.Redis, clean: Cleaner) -> None:
    made, ns = ids(4, newest_age=OLD), "memory"
    line(stack, made, ns=ns)
    its = Line(stack, "a")
    its.add(made[0], ("profile",))
    for one in made[1:]:
        its.add(one)

    clean(stack, KEEP_1)

    assert blobs(stack) == {"a::profile:1", "a::log:4", "a:memory:log:4"}


@both
def test_blobs_of_an_invocation_are_deleted_with_it(stack: redis.Redis, clean: Cleaner) -> None:
    made = ids(6, newest_age=OLD)
    ns = "sub:3f8d06a6-9b5d-5541-b097-30e69e628a0f"
    line(stack, (made[0], *made[3:]))
    values = {"log": "inner"}
    put_blobs(stack, "a", made[1], values, {"log": 1}, ns=ns)
    parents = {"parents": {"": made[0]}}
    put_document(stack, "a", made[1], values, {"log": 1}, ns=ns, metadata=parents)

    clean(stack, KEEP_1)

    assert documents(stack) == {f"a::{made[-1]}"}
    assert blobs(stack) == {"a::log:4"}


def test_of_an_expired_thread_nothing_is_left(stack: redis.Redis) -> None:
    line(stack, ids(3, newest_age=OLD))

    sweep(stack, Policy(expire_after=timedelta(hours=1)))

    assert set(stack.scan_iter()) == set()


def test_blobs_of_a_thread_that_others_have_deleted_are_deleted(stack: redis.Redis) -> None:
    for ns in ("", "memory", "sub:3f8d06a6-9b5d-5541-b097-30e69e628a0f"):
        put_blobs(stack, "a", ids(1, newest_age=OLD)[0], {"log": 1}, {"log": 1}, ns=ns)

    assert sweep(stack) == 3
    assert blobs(stack) == set()


def test_more_documents_and_blobs_than_one_call_may_read(stack: redis.Redis) -> None:
    made = ids(260, newest_age=OLD)
    its = Line(stack, "a")
    its.add(made[0], ("profile",), writes=False)
    for one in made[1:]:
        its.add(one, writes=False)
    for number in range(30):
        put_blobs(stack, "a", made[5], {"left": number}, {"left": 1000 + number})
    stack.delete(checkpoint_key("a", "", made[5]))

    trim(stack, Policy(keep_last=250))

    assert len(documents(stack)) == 250
    assert blobs(stack) == {"a::profile:1"} | {f"a::log:{n}" for n in range(11, 261)}


def test_more_blobs_than_are_held_at_a_time(stack: redis.Redis) -> None:
    made = ids(40, newest_age=OLD)
    line(stack, made)
    line(stack, made, "b")
    transport = Transport(stack)
    for thread in ("a", "b"):
        names = [checkpoint_key(thread, "", one).encode() for one in made]
        transport.run(engine().add(names))
        trim_by_index(stack, KEEP_2, thread)

    threads: dict[bytes, tuple[()]] = {b"a": (), b"b": ()}
    deleted = transport.run(shared_keys.delete_unneeded(engine(), threads, most_held=10))

    assert deleted == {b"a": Deleted(keys=38), b"b": Deleted(keys=38)}
    assert blobs(stack) == {f"{thread}::log:{n}" for thread in "ab" for n in (39, 40)}


def test_several_named_threads_are_looked_for_together(stack: redis.Redis) -> None:
    names = ["a", "b", "c", "d"]
    for name in names:
        line(stack, ids(5, newest_age=OLD), name)
    stack.config_resetstat()

    result = Retention(stack, layout="langgraph-js", grace=timedelta(0)).trim(names, KEEP_2)

    # One look for the threads, and one for their blobs: there are few keys.
    assert stack.info("commandstats")["cmdstat_scan"]["calls"] == 2
    assert blobs(stack) == {f"{name}::log:{n}" for name in names for n in (4, 5)}
    assert (result.threads_trimmed, result.checkpoints_deleted) == (4, 4 * 3)
    assert result.keys_deleted == 4 * 3 * 5


def test_of_large_blobs_a_call_frees_a_few(stack: redis.Redis) -> None:
    made = ids(12, newest_age=OLD)
    line(stack, made)
    for number in range(1, 11):
        stack.json().set(blob_key("a", "", "log", number), "$.value", "x" * 500_000)
    stack.config_resetstat()

    trim(stack)

    calls = stack.info("commandstats")["cmdstat_unlink"]["calls"]
    assert blobs(stack) == {"a::log:11", "a::log:12"}
    assert calls >= 3


@pytest.mark.parametrize("version", [1.5, 2.0**60, [1], None])
def test_where_a_version_cannot_be_understood_all_blobs_are_retained(
    stack: redis.Redis, version: object
) -> None:
    made = ids(4, newest_age=OLD)
    line(stack, made)
    key = checkpoint_key("a", "", made[-1])
    stack.json().set(key, "$.checkpoint.channel_versions.log", version)  # type: ignore[arg-type]

    trim(stack, KEEP_1)

    assert documents(stack) == {f"a::{made[-1]}"}
    assert len(blobs(stack)) == 4
