"""Of each storage format a service says by itself that the indexes are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from redis_retention import Policy, Retention
from redis_retention.complete import EachCompleteness, indexes_are_complete
from redis_retention.engine import Engine
from redis_retention.scripts import load
from redis_retention.served import Served
from redis_retention.sources.sweep import sweep_formats
from redis_retention.transport import Transport
from tests.daemon.service import Service, eventually
from tests.integration.test_complete import SCRIPTS, prepared
from tests.integration.test_round_trips import monitored
from tests.integration.threads import fill_fast, ids
from tests.langgraph_js.cleaning import line, sweep
from tests.langgraph_js.documents import blobs, documents
from tests.servers.start import Server

KEEP_10 = Policy(keep_last=10)
PYTHONS, BOTH, JS = "python's", "both", "javascript's"
# What a search and a look at the database send.
LOOKS = {"SCAN", "FT.AGGREGATE", "FT._LIST", "FT.INFO"}


@pytest.fixture
def stack(redis_stack: Server) -> Iterator[redis.Redis]:
    """A client of one server with threads of two savers, on which the scripts are known."""
    with prepared(redis_stack) as client:
        for name in SCRIPTS:
            client.script_load(load(name, "langgraph_js").text)
        for thread in (PYTHONS, BOTH):
            fill_fast(client, thread, 36)
        for thread in (JS, BOTH):
            line(client, ids(36, newest_age=9 * 3600.0), thread)
        yield client


class Said:
    """A service that has swept, and what it says.

    Args:
        client: Of its server.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._run = Transport(client).run
        self.served = Served.chosen()
        self.python, self.js = self.served.engines[:2]
        self.each = EachCompleteness(self.served.engines)

    def sweep(self) -> None:
        self._run(self.each.during(sweep_formats(self.served, [])))
        assert self._run(self.each.say())

    def of(self) -> list[Engine]:
        engines = (self.python, self.js)
        return [one for one in engines if self._run(indexes_are_complete(one))]


@pytest.fixture
def said(stack: redis.Redis) -> Said:
    """A service that has swept while it listened to all."""
    said = Said(stack)
    said.each.listen(said.served.engines)
    said.sweep()
    return said


def trim(retention: Retention, thread: str) -> int:
    return retention.trim(thread, KEEP_10).checkpoints_deleted


def dry_run(retention: Retention, thread: str) -> int:
    return retention.trim(thread, KEEP_10, dry_run=True).checkpoints_deleted


def plan(retention: Retention, thread: str) -> int:
    return sum(not c.kept for c in retention.plan(thread, KEEP_10).checkpoints)


@pytest.mark.parametrize("act", [trim, dry_run, plan])
@pytest.mark.parametrize(("thread", "deleted"), [(PYTHONS, 26), (JS, 26), (BOTH, 52)])
def test_nothing_is_looked_for(
    redis_stack: Server,
    stack: redis.Redis,
    said: Said,
    act: Callable[[Retention, str], int],
    thread: str,
    deleted: int,
) -> None:
    with monitored(redis_stack) as commands:
        assert act(Retention(stack), thread) == deleted
        assert set(commands()) == {"GET", "EVALSHA"}


def test_the_blobs_are_left_to_the_next_sweep(stack: redis.Redis, said: Said) -> None:
    Retention(stack).trim(JS, KEEP_10)

    def of_thread() -> int:
        return sum(blob.startswith(f"{JS}:") for blob in blobs(stack))

    assert of_thread() == 36
    assert sweep(stack, KEEP_10, JS) == 26
    assert of_thread() == 10


def test_where_one_index_is_gone_the_database_is_looked_at(
    redis_stack: Server, stack: redis.Redis, said: Said
) -> None:
    for act in (dry_run, plan, trim):
        stack.delete(said.js.index_key(JS.encode()))
        with monitored(redis_stack) as commands:
            assert act(Retention(stack), JS) == 26
            assert "SCAN" in commands()


def test_a_format_that_was_not_listened_to_is_looked_for(
    redis_stack: Server, stack: redis.Redis
) -> None:
    said = Said(stack)
    said.each.listen([said.python])
    said.sweep()

    assert said.of() == [said.python]
    with monitored(redis_stack) as commands:
        assert trim(Retention(stack), JS) == 26
        assert "SCAN" in commands()
    said.each.listen([said.python, said.js])
    said.sweep()
    assert said.of() == [said.python, said.js]


def test_of_a_format_of_which_there_is_nothing_the_indexes_are_complete(
    redis_stack: Server, stack: redis.Redis
) -> None:
    for key in stack.scan_iter("checkpoint*__empty__*"):
        stack.delete(key)
    said = Said(stack)
    said.each.listen([said.python, said.js])
    said.sweep()

    assert said.of() == [said.python, said.js]
    with monitored(redis_stack) as commands:
        assert trim(Retention(stack), JS) == 26
        assert LOOKS.isdisjoint(commands())


def test_a_doubt_counts_for_all(said: Said, stack: redis.Redis) -> None:
    said.each.doubt()

    assert Transport(stack).run(said.each.say())

    assert said.of() == []


def test_a_service_says_it_of_all_that_it_serves(redis_stack: Server, stack: redis.Redis) -> None:
    said = Said(stack)
    policy = ("--keep-last", "20", "--trigger", "20", "--check-every", "0.2", "--grace", "0s")
    with Service("--url", redis_stack.url, *policy) as running:
        eventually(lambda: said.of() == [said.python, said.js], running.output)
        # Both savers' begin alike.
        assert len(documents(stack)) == 4 * 20
        with monitored(redis_stack) as commands:
            result = Retention(stack).trim(BOTH, KEEP_10)
            sent = commands()
        assert running.stop() == 0

    assert result.checkpoints_deleted == 20
    assert "FT.AGGREGATE" not in sent
    assert said.of() == []
