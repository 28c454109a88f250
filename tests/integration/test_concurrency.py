"""A writer, trimmers and readers at the same time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import Policy, Retention
from tests.graphs.observe import keys
from tests.graphs.scenarios import Chat
from tests.integration.threads import DEFAULT, ids, keys_of, place, put, put_writes
from tests.integration.watching import count_keys, orphans
from tests.servers.start import Server

KEEP = 5
POLICY = Policy(keep_last=KEEP)
CHECKPOINTS = 200
CONFIG: RunnableConfig = {"configurable": {"thread_id": "a"}}

Step = Callable[[], None]


@contextmanager
def meanwhile(*steps: Step) -> Iterator[None]:
    """Does each of the steps again and again, all at the same time, while the block runs.

    What goes wrong in one of them is raised at the end.
    """
    end = Event()

    def repeat(step: Step) -> int:
        done = 0
        while not end.is_set():
            step()
            done += 1
        return done

    with ThreadPoolExecutor() as pool:
        running: list[Future[int]] = [pool.submit(repeat, step) for step in steps]
        try:
            yield
        finally:
            end.set()
    assert all(future.result() > 0 for future in running)


def trimmer(server: Server, indexed_only: bool = False, policy: Policy = POLICY) -> Step:
    """Trims the thread: as the command line does, or as one does who keeps it trimmed."""
    retention = Retention(server.client(), keys_per_call=10 if indexed_only else 250)

    def trim() -> None:
        retention.trim("a", policy, indexed_only=indexed_only)

    return trim


@dataclass
class Writer:
    """Adds checkpoints, each with two writes, and notes those that are complete."""

    saver: RedisSaver
    complete: list[str] = field(default_factory=list)

    def write(self) -> None:
        parent = None
        for name in ids(CHECKPOINTS):
            put(self.saver, "a", name, parent=parent)
            put_writes(self.saver, "a", name)
            self.complete.append(name)
            parent = name


@dataclass
class Reader:
    """Reads the newest ones through the saver, and looks at old ones in one go each."""

    client: redis.Redis
    writer: Writer

    def __post_init__(self) -> None:
        self._saver = RedisSaver(redis_client=self.client)
        self._saver.setup()
        self._random = random.Random(1)

    def read_newest(self) -> None:
        """One that was among the newest all the time that the reading took is whole."""
        # One more may be written and not noted yet.
        sure = self.writer.complete[-KEEP + 1 :]
        for name in sure:
            found = self._saver.get_tuple(place("a", checkpoint_id=name))
            if name in self.writer.complete[-KEEP + 1 :]:
                assert found is not None, f"{name} has vanished"
                assert found.checkpoint["channel_values"] == {"messages": [f"as of {name}"]}
                assert len(found.pending_writes or ()) == 2, f"{name} is half there"

    def look_at_any(self) -> None:
        """An old one is there with all that belongs to it, or not at all."""
        complete = list(self.writer.complete[-4 * KEEP :])
        if not complete:
            return
        name = self._random.choice(complete)
        with self.client.pipeline(transaction=True) as pipeline:
            pipeline.exists(DEFAULT.document("a", "", name))
            pipeline.zrange(DEFAULT.registry("a", "", name), 0, -1)
            there, registered = pipeline.execute()
        assert (there, len(registered)) in ((1, 2), (0, 0)), f"{name} is half there"


def test_no_reader_misses_one_of_the_newest_or_sees_half_of_one(
    server: Server, client: redis.Redis
) -> None:
    saver = RedisSaver(redis_client=client)
    saver.setup()
    writer = Writer(saver)
    with server.client() as reading, server.client() as looking:
        reader, other = Reader(reading, writer), Reader(looking, writer)
        steps = trimmer(server), trimmer(server, indexed_only=True)
        with meanwhile(*steps, reader.read_newest, other.look_at_any):
            writer.write()

    Retention(client).trim("a", POLICY)

    newest = writer.complete[-KEEP:]
    assert [key.id for key in keys(saver, "a")] == newest
    left: list[bytes] = list(client.scan_iter(count=1000))
    assert len(keys_of(left, "a", newest)) == 4 * KEEP
    assert orphans(client, saver, "a") == []
    assert count_keys(client, "checkpoint") == KEEP


def test_a_real_conversation_goes_on_while_others_trim_and_read_it(
    server: Server, client: redis.Redis
) -> None:
    """With the saver as it is and LangGraph's default durability: writes overtake checkpoints."""
    saver = RedisSaver(redis_client=client)
    saver.setup()
    chat = Chat(turns=15)
    seen: list[int] = []

    with server.client() as reading:
        reading_saver = RedisSaver(redis_client=reading)
        reading_saver.setup()
        graph: Any = chat.build(reading_saver)

        def read() -> None:
            seen.append(len(graph.get_state(CONFIG).values.get("messages", ())))

        # A reader asks for the newest one's name first, and then for that one.
        ample = Policy(keep_last=4 * KEEP)
        with meanwhile(
            trimmer(server, policy=ample), trimmer(server, indexed_only=True, policy=ample), read
        ):
            observed = chat.run(chat.build(saver), CONFIG, durability="async")

    assert seen == sorted(seen)
    control: RunnableConfig = {"configurable": {"thread_id": "control"}}
    assert observed == chat.run(chat.build(saver), control, durability="async")
    Retention(client).trim("a", POLICY)
    assert len(keys(saver, "a")) == KEEP
    assert orphans(client, saver, "a") == []
