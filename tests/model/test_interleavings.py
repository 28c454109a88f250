"""A trim, a sweep or a forgetting between any two commands of the savers.

A saver stores a checkpoint in several commands, and its host's clock may be an hour off. Whatever
comes in between, the pointer that it is about to write must find its checkpoint. What the rules
are:

- A checkpoint below the newest N that nothing names as its parent may be about to get the pointer:
  it is retained for the grace period after it was first seen by the server's clock. Its id says
  nothing, since the clock of its host may be off by any time.
- Descendants of what the pointer names are retained. A checkpoint with a child is superseded and
  may be deleted.
- Stubs, writes and registries without a checkpoint are deleted when their id says that they are
  two hours old and there is a newer checkpoint in their namespace, or with their checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import pytest
import redis

from redis_retention import Policy, Retention
from redis_retention.engine import Engine, Rule
from redis_retention.transport import Transport
from tests.integration.threads import DEFAULT, ids, keys_of, place, put, put_writes
from tests.model.interleaving import Operation, Writer, Writers
from tests.model.threads import task_id, uuid6_at
from tests.servers.start import Server

KEEP_2 = Policy(keep_last=2)
MINUTE, HOUR = 60.0, 3600.0
DAY = 24 * HOUR

Tuple: TypeAlias = "tuple[str, str]"


# --------------------------------------------------------------------------------------
# What comes in between


def documents(client: redis.Redis) -> list[bytes]:
    """The names of everything that may be a checkpoint document."""
    return sorted(client.scan_iter(match="checkpoint:*", count=1000))


def trim(client: redis.Redis, thread: str, policy: Policy = KEEP_2, **options: Any) -> None:
    """As a person does on the command line."""
    Retention(client, **options).trim(thread, policy)


def trim_indexed(client: redis.Redis, thread: str, policy: Policy = KEEP_2, **options: Any) -> None:
    """The listener has seen all documents, and somebody trims by what it knows."""
    made: Any = Engine
    grace = {name: value // timedelta(milliseconds=1) for name, value in options.items()}
    engine = made(**{f"{name}_ms": value for name, value in grace.items()})
    Transport(client).run(engine.track(documents(client)))
    Retention(client, **options).trim(thread, policy, indexed_only=True)


def track(client: redis.Redis, thread: str, policy: Policy = KEEP_2, **options: Any) -> None:
    """As the listener does, which trims in the same call."""
    made: Any = Engine
    grace = {name: value // timedelta(milliseconds=1) for name, value in options.items()}
    engine = made(**{f"{name}_ms": value for name, value in grace.items()})
    rule = Rule(thread.encode(), policy, policy.keep_last)
    Transport(client).run(engine.track(documents(client), [rule]))


def sweep(client: redis.Redis, thread: str, policy: Policy = KEEP_2, **options: Any) -> None:
    """As the service does every hour."""
    Retention(client, **options).sweep(policy, match=thread)


Act: TypeAlias = "Callable[..., None]"
ACTS: list[Act] = [trim, trim_indexed, track, sweep]


# --------------------------------------------------------------------------------------
# By example


@pytest.fixture
def writer(server: Server, client: redis.Redis) -> Iterator[Writer]:
    """A host whose commands a test lets through one at a time, on each of the servers."""
    with Writers(server.url, 1) as writers:
        yield writers[0]


def putting(name: str, **options: Any) -> Operation:
    return lambda writer: put(writer.saver, "a", name, **options)


def writing(name: str, ns: str = "") -> Operation:
    return lambda writer: put_writes(writer.saver, "a", name, ns=ns)


def newest(writer: Writer, ns: str = "") -> str | None:
    """The id of what a graph would go on from."""
    found = writer.saver.get_tuple(place("a", ns))
    return None if found is None else str(found.checkpoint["id"])


def ahead(writer: Writer, seconds: float, count: int = 6) -> list[str]:
    """Six checkpoints of a host whose clock is ahead, each the child of the one before."""
    names = ids(count, newest_age=-seconds, apart=0.001)
    for parent, name in zip([None, *names], names, strict=False):
        put(writer.saver, "a", name, parent=parent)
    return names


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("seconds", [10.0, HOUR])
@pytest.mark.parametrize("is_child", [True, False])
def test_a_checkpoint_of_a_lagging_host_survives_until_its_pointer_names_it(
    client: redis.Redis, writer: Writer, act: Act, seconds: float, is_child: bool
) -> None:
    """The grace of a leaf: between JSON.SET and SET nothing can prove that it is superseded."""
    names = ahead(writer, seconds)
    lagging = uuid6_at(time.time())
    writer.begin([putting(lagging, parent=names[-1] if is_child else None)])
    writer.step()

    act(client, "a")

    writer.finish()
    assert newest(writer) == lagging


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("lag", [HOUR, DAY])
def test_a_host_loses_no_checkpoint_however_far_it_lags(
    client: redis.Redis, writer: Writer, act: Act, lag: float
) -> None:
    """Whoever meets a checkpoint without a child for the first time goes by our clock alone."""
    ahead(writer, 0)
    lagging = uuid6_at(time.time() - lag)
    writer.begin([putting(lagging)])
    writer.step()

    act(client, "a")

    writer.finish()
    assert newest(writer) == lagging


@pytest.mark.parametrize("act", ACTS)
def test_what_a_dead_writer_has_left_without_a_pointer_harms_nobody(
    client: redis.Redis, writer: Writer, act: Act
) -> None:
    """The pointer goes on naming what it named, and what is without a child is retained for now."""
    names = ahead(writer, 10)
    left = uuid6_at(time.time())
    writer.begin([putting(left)])
    writer.step()
    writer.die()

    act(client, "a")

    assert newest(writer) == names[-1]
    assert writer.saver.get_tuple(place("a", checkpoint_id=left)) is not None


SHORT = timedelta(milliseconds=1)


def when_the_grace_is_over(client: redis.Redis, act: Act) -> None:
    """It sees what there is; a moment later somebody trims who owes it no more patience."""
    act(client, "a", grace=SHORT)
    time.sleep(0.01)
    options: Any = {"grace": SHORT}
    Retention(client, **options).trim("a", KEEP_2, indexed_only=True)


@pytest.mark.parametrize("act", ACTS)
def test_children_of_the_newest_are_retained_when_the_grace_is_over(
    client: redis.Redis, writer: Writer, act: Act
) -> None:
    """Descendants of what the pointer names are never deleted, whatever their ids sort like."""
    names = ahead(writer, 10)
    lagging = uuid6_at(time.time())
    writer.begin([putting(lagging, parent=names[-1])])
    writer.step()

    when_the_grace_is_over(client, act)

    writer.finish()
    assert newest(writer) == lagging


@pytest.mark.parametrize("act", ACTS)
def test_a_whole_line_of_descendants_of_the_newest_is_retained(
    client: redis.Redis, writer: Writer, act: Act
) -> None:
    """A child, its child and so on, which a host has written of which the pointer was lost."""
    names = ahead(writer, 10)
    line = ids(3, newest_age=30)
    for parent, name in zip([names[-1], *line], line, strict=False):
        writer.begin([putting(name, parent=parent)])
        writer.step()
        writer.die()

    when_the_grace_is_over(client, act)

    assert newest(writer) == names[-1]
    assert all(writer.saver.get_tuple(place("a", checkpoint_id=name)) for name in line)


@pytest.mark.parametrize("act", ACTS)
def test_what_has_a_child_is_deleted_at_once(client: redis.Redis, writer: Writer, act: Act) -> None:
    """The grace holds nothing back that is superseded."""
    names = ahead(writer, 0)

    act(client, "a")

    assert documents(client) == [DEFAULT.document("a", "", name) for name in names[-2:]]


@pytest.mark.parametrize("act", ACTS)
def test_an_old_end_of_a_fork_is_deleted(client: redis.Redis, writer: Writer, act: Act) -> None:
    """What has no child is retained for a time, not for good."""
    fork = uuid6_at(time.time() - 3 * HOUR)
    put(writer.saver, "a", fork)
    names = ahead(writer, 0)

    when_the_grace_is_over(client, act)

    assert documents(client) == [DEFAULT.document("a", "", name) for name in names[-2:]]


def clean_up(client: redis.Redis) -> None:
    """Everything that looks for what writers left behind."""
    trim(client, "a")
    sweep(client, "*")
    trim_indexed(client, "a")
    trim(client, "a")


@pytest.mark.parametrize("seconds", [1.0, 10.0, HOUR])
@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_writes_of_a_lagging_host_survive_until_their_checkpoint_comes(
    client: redis.Redis, writer: Writer, seconds: float, steps: int
) -> None:
    """Orphans go two hours after the time in their id, however many newer checkpoints there are.

    The four commands of `put_writes`: two write documents, the mark in the checkpoint, which makes
    a stub, and the registry.
    """
    ahead(writer, 0)
    lagging = uuid6_at(time.time() - seconds)
    writer.begin([writing(lagging), putting(lagging)])
    for _ in range(steps):
        writer.step()
    before = keys_of(client.scan_iter(), "a", [lagging])

    clean_up(client)

    assert keys_of(client.scan_iter(), "a", [lagging]) == before
    writer.finish()
    clean_up(client)
    # The document, two writes, the registry.
    assert len(keys_of(client.scan_iter(), "a", [lagging])) == 4
    assert newest(writer) == lagging


def test_writes_that_are_newer_than_the_newest_checkpoint_are_retained_however_old_they_are(
    client: redis.Redis, writer: Writer
) -> None:
    """A thread that begins anew after hours, on a host whose clock has stopped."""
    for name in ids(4, newest_age=5 * HOUR):
        put(writer.saver, "a", name)
    on_its_way = uuid6_at(time.time() - 4 * HOUR)
    put_writes(writer.saver, "a", on_its_way)
    before = keys_of(client.scan_iter(), "a", [on_its_way])

    clean_up(client)

    assert keys_of(client.scan_iter(), "a", [on_its_way]) == before


def test_old_writes_without_a_checkpoint_are_deleted(client: redis.Redis, writer: Writer) -> None:
    """After two hours, where there are newer checkpoints."""
    old = uuid6_at(time.time() - 2 * HOUR - MINUTE)
    put_writes(writer.saver, "a", old)
    ahead(writer, 0)

    clean_up(client)

    assert keys_of(client.scan_iter(), "a", [old]) == frozenset()


IDLE = Policy(keep_last=2, expire_after=timedelta(minutes=30))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("lag", [0.0, 40 * MINUTE])
def test_a_thread_that_wakes_up_while_it_expires_is_not_lost(
    client: redis.Redis, writer: Writer, act: Act, lag: float
) -> None:
    """A checkpoint without a pointer is activity, even if the id of a lagging host looks idle."""
    idle = ids(4, newest_age=50 * MINUTE)
    for parent, name in zip([None, *idle], idle, strict=False):
        put(writer.saver, "a", name, parent=parent)
    woken = uuid6_at(time.time() - lag)
    writer.begin([putting(woken, parent=idle[-1])])
    writer.step()

    act(client, "a", IDLE)

    writer.finish()
    assert newest(writer) == woken


def test_the_index_of_an_idle_thread_expires_nothing_that_it_has_not_heard_of(
    client: redis.Redis, writer: Writer
) -> None:
    """The document comes after the last event that the index has seen."""
    idle = ids(4, newest_age=50 * MINUTE)
    for parent, name in zip([None, *idle], idle, strict=False):
        put(writer.saver, "a", name, parent=parent)
    Transport(client).run(Engine().track(documents(client)))
    woken = uuid6_at(time.time() - 40 * MINUTE)
    writer.begin([putting(woken, parent=idle[-1])])
    writer.step()

    Retention(client).trim("a", IDLE, indexed_only=True)

    writer.finish()
    assert newest(writer) == woken


INVOCATION = f"node:{task_id(1)}"


@pytest.mark.parametrize("act", ACTS)
def test_a_subgraph_that_runs_on_a_host_whose_root_others_have_left_behind_keeps_its_pointer(
    client: redis.Redis, writer: Writer, act: Act
) -> None:
    """A document without a child is a leaf in the namespace of an invocation, too."""
    root = uuid6_at(time.time() - MINUTE)
    put(writer.saver, "a", root)
    others = ids(4)
    for parent, name in zip([root, *others], others, strict=False):
        put(writer.saver, "a", name, parent=parent)
    inner = uuid6_at(time.time() - MINUTE, 1)
    checkpoint: Any = {
        "v": 4,
        "id": inner,
        "ts": "2026-01-01T00:00:00+00:00",
        "channel_values": {"messages": ["within"]},
        "channel_versions": {"messages": "1"},
        "versions_seen": {},
    }
    metadata: Any = {"source": "loop", "step": 0, "parents": {"": root}}
    where = place("a", INVOCATION)
    writer.begin([lambda writer: writer.saver.put(where, checkpoint, metadata, {})])
    writer.step()

    act(client, "a")

    writer.finish()
    assert newest(writer, INVOCATION) == inner


def test_deleting_a_thread_while_it_is_trimmed_leaves_nothing_to_wonder_about(
    client: redis.Redis, writer: Writer
) -> None:
    """`delete_thread` looks for what there is, then deletes it: a trim in between takes less."""
    ahead(writer, 0)
    writer.begin([lambda writer: writer.saver.delete_thread("a")])
    while writer.busy:
        for act in ACTS:
            act(client, "a")
        writer.step()
    clean_up(client)

    assert [key for key in client.scan_iter() if not key.startswith(b"retention:")] == []
