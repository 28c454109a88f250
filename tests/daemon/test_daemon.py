"""The service as a process of its own, with real savers that write while it runs."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis
from langgraph.checkpoint.memory import InMemorySaver

from tests.daemon.conftest import POLICY
from tests.daemon.proxy import Proxy
from tests.daemon.service import Service, eventually
from tests.daemon.writers import GraphWriter, Watch, Writer, assert_newest, ids, indexed, shrunk
from tests.graphs import scenarios
from tests.graphs.savers import OrderedSaver
from tests.servers.start import Server

KEEP, TRIGGER = 10, 30
Start = Callable[..., Service]


def burst(server: Server, threads: int) -> Writer:
    return Writer(server.client(), [f"burst-{number}" for number in range(threads)])


def assert_trimmed(client: redis.Redis, writer: Writer) -> None:
    eventually(lambda: shrunk(client, writer, TRIGGER))
    assert_newest(client, writer, KEEP)


def test_every_thread_is_trimmed_while_it_grows(
    server: Server, client: redis.Redis, service: Start
) -> None:
    running = service(server)
    running.wait_for("ready")
    writer = burst(server, 10)
    watch = Watch(server.client(), writer, KEEP)
    watch.start()
    writer.write(60)
    watch.finish()
    assert_trimmed(client, writer)
    assert running.stop() == 0


def test_a_burst_of_many_graphs(server: Server, client: redis.Redis, service: Start) -> None:
    running = service(server)
    running.wait_for("ready")
    writers = [
        GraphWriter(server.client(), [f"burst-{half}-{number}" for number in range(6)])
        for half in range(2)
    ]
    watches = [Watch(server.client(), writer, KEEP) for writer in writers]
    at_work = [threading.Thread(target=writer.write, args=(60,)) for writer in writers]
    for thread in (*watches, *at_work):
        thread.start()
    for thread in at_work:
        thread.join()
    for watch in watches:
        watch.finish()
    for writer in writers:
        assert {len(written) for written in writer.written.values()} == {60}
        assert_trimmed(client, writer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_within_a_second(
    redis_stack: Server, stack: redis.Redis, service: Start, number: signal.Signals
) -> None:
    running = service(redis_stack)
    running.wait_for("ready")
    writer = burst(redis_stack, 5)
    at_work = threading.Thread(target=writer.write, args=(40,))
    at_work.start()
    eventually(lambda: bool(running.said("trimmed")))
    begun = time.monotonic()
    running.send(number)
    assert running.process.wait(10) == 0
    # A second, and what a busy machine takes to end a process.
    assert time.monotonic() - begun < 2
    at_work.join()
    assert_newest(stack, writer, KEEP)


def test_it_ends_while_the_server_hangs(
    redis_stack: Server, stack: redis.Redis, service: Start
) -> None:
    with Proxy(redis_stack.port) as proxy:
        running = service(proxy.url)
        running.wait_for("ready")
        proxy.silence()
        burst(redis_stack, 1).write(5)
        begun = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - begun < 3


def test_it_follows_a_primary_that_was_demoted_and_kept_its_connections(
    redis_stack: Server, stack: redis.Redis, service: Start
) -> None:
    with (
        Server(redis_stack.name, replica_of=redis_stack) as promoted,
        promoted.client() as primary,
        Proxy(redis_stack.port) as proxy,
    ):
        running = service(proxy.url, *POLICY, "--check-every", "1")
        running.wait_for("swept")
        try:
            primary.replicaof("NO", "ONE")
            proxy.move(promoted.port)
            stack.replicaof("127.0.0.1", str(promoted.port))
            primary.delete("retention:swept:checkpoint")
            writer = Writer(promoted.client(), ["a"])
            writer.write(TRIGGER + 5)
            eventually(lambda: len(ids(primary, "a")) <= TRIGGER, running.output)
            eventually(lambda: bool(primary.exists("retention:swept:checkpoint")), running.output)
        finally:
            stack.replicaof("NO", "ONE")


def test_documents_that_others_delete_leave_the_index(
    server: Server, client: redis.Redis, service: Start
) -> None:
    service(server).wait_for("ready")
    writer = Writer(server.client(), ["a:b", "whole"])
    writer.write(5)
    for name in writer.names:
        eventually(lambda name=name: indexed(client, name) == 5)  # type: ignore[misc]
    first, second, *_ = writer.written["a:b"]
    client.delete(*keys_of("a:b", first))
    client.pexpire(document("a:b", second), 1)
    client.delete(f"write_keys_zset:a:b:__empty__:{second}")
    eventually(lambda: indexed(client, "a:b") == 3)
    writer.saver.delete_thread("whole")
    eventually(lambda: not client.exists("retention:index:checkpoint:whole"))


def test_documents_that_are_renamed_leave_the_index_and_come_back(
    redis_stack: Server, stack: redis.Redis, service: Start
) -> None:
    service(redis_stack).wait_for("ready")
    writer = burst(redis_stack, 1)
    name = writer.names[0]
    writer.write(3)
    first = writer.written[name][0]
    eventually(lambda: indexed(stack, name) == 3)
    stack.delete(f"write_keys_zset:{name}:__empty__:{first}")
    stack.rename(document(name, first), "elsewhere")
    eventually(lambda: indexed(stack, name) == 2)
    stack.rename("elsewhere", document(name, first))
    eventually(lambda: indexed(stack, name) == 3)


def document(name: str, id: str) -> str:
    return f"checkpoint:{name}:__empty__:{id}"


def keys_of(name: str, id: str) -> list[str]:
    return [document(name, id), f"write_keys_zset:{name}:__empty__:{id}"]


SCENARIOS: Iterable[scenarios.Scenario] = (
    scenarios.Chat(),
    scenarios.HumanInTheLoop(),
    scenarios.ManySubgraphs(),
    scenarios.StatefulSubgraph(),
    scenarios.DeltaWithInterrupts(),
)


def run(saver: Any, scenario: scenarios.Scenario) -> list[scenarios.Observation]:
    """What is seen of a graph, in a thread of the scenario's name."""
    return scenario.run(scenario.build(saver), {"configurable": {"thread_id": scenario.name}})


def test_real_graphs_run_as_if_nothing_had_been_trimmed(
    redis_stack: Server, stack: redis.Redis, service: Start
) -> None:
    untouched = {one.name: run(InMemorySaver(), one) for one in SCENARIOS}
    saver = OrderedSaver(redis_client=redis_stack.client())
    saver.setup()
    running = service(redis_stack, "--keep-last", "2", "--trigger", "3")
    running.wait_for("swept")
    assert {one.name: run(saver, one) for one in SCENARIOS} == untouched
    assert len(running.said("trimmed")) > len(untouched)
    eventually(lambda: len(ids(stack, "Chat")) <= 3)
