"""Writes checkpoints as LangGraph does, with the real saver, and remembers what it has written."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import redis
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver
from langgraph.graph import START, MessagesState, StateGraph


@dataclass
class Writer:
    """Some threads that grow, all by one step at a time."""

    client: redis.Redis
    names: list[str]
    written: dict[str, list[str]] = field(default_factory=dict)
    """The ids of each thread's checkpoints, oldest first; noted once they are written."""

    def __post_init__(self) -> None:
        self.saver = RedisSaver(redis_client=self.client)
        self.saver.setup()
        self._configs: dict[str, RunnableConfig] = {}
        for name in self.names:
            self.written.setdefault(name, [])

    def write(self, steps: int) -> None:
        """Let every thread grow by so many steps, in turns."""
        for _ in range(steps):
            for name in self.names:
                self.step(name)

    def step(self, name: str) -> None:
        """One checkpoint and two pending writes of it."""
        place: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        before = self._configs.get(name, place)
        number = len(self.written[name])
        after = self.saver.put(before, _checkpoint(number), _metadata(number), {})
        self.saver.put_writes(after, [("messages", "hi"), ("count", number)], str(uuid4()))
        self._configs[name] = after
        self.written[name].append(after["configurable"]["checkpoint_id"])

    def assert_state(self, name: str) -> None:
        """The newest checkpoint is read as it was written."""
        read = self.saver.get_tuple({"configurable": {"thread_id": name, "checkpoint_ns": ""}})
        assert read is not None
        assert read.checkpoint["channel_values"]["count"] == len(self.written[name]) - 1
        assert len(read.pending_writes or ()) == 2

    def newest(self, name: str, count: int) -> list[str]:
        return self.written[name][-count:]


def _checkpoint(number: int) -> Checkpoint:
    return Checkpoint(
        v=4,
        id=str(uuid6(clock_seq=number)),
        ts="2026-01-01T00:00:00+00:00",
        channel_values={"messages": [f"message {number}"] * 5, "count": number},
        channel_versions={"messages": str(number), "count": str(number)},
        versions_seen={},
        updated_channels=None,
    )


def _metadata(number: int) -> Any:
    return {"source": "input" if number % 3 == 0 else "loop", "step": number, "parents": {}}


class _NotingSaver(RedisSaver):
    """A saver that notes which checkpoints it has written."""

    written: dict[str, list[str]]

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
        **rest: Any,
    ) -> RunnableConfig:
        after = super().put(config, checkpoint, metadata, new_versions, **rest)
        place = after["configurable"]
        self.written[place["thread_id"]].append(place["checkpoint_id"])
        return after


class GraphWriter(Writer):
    """The same with a real graph: each turn of its conversation is four checkpoints."""

    CHECKPOINTS_PER_TURN = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.saver = _NotingSaver(redis_client=self.client)
        self.saver.written = self.written
        graph: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
        graph.add_node("think", lambda state: {"messages": [("ai", "hm")]})
        graph.add_node("answer", lambda state: {"messages": [("ai", "yes")]})
        graph.add_edge(START, "think")
        graph.add_edge("think", "answer")
        self._graph = graph.compile(checkpointer=self.saver)

    def write(self, steps: int) -> None:
        for turn in range(steps // self.CHECKPOINTS_PER_TURN):
            for name in self.names:
                self._graph.invoke(
                    {"messages": [("user", f"question {turn}")]},
                    {"configurable": {"thread_id": name}},
                    durability="sync",
                )

    def assert_state(self, name: str) -> None:
        """A graph that goes on finds the whole conversation."""
        state = self._graph.get_state({"configurable": {"thread_id": name}})
        turns = range(len(self.written[name]) // self.CHECKPOINTS_PER_TURN)
        conversation = [line for turn in turns for line in (f"question {turn}", "hm", "yes")]
        assert [message.content for message in state.values["messages"]] == conversation


def ids(client: redis.Redis, name: str) -> list[str]:
    """The ids of a thread's checkpoints at one moment, oldest first."""
    keys: Any = client.keys(f"checkpoint:{name}:__empty__:*")
    return sorted(key.decode().rsplit(":", 1)[1] for key in keys)


def indexed(client: redis.Redis, name: str) -> int:
    """How many checkpoints a thread's index knows."""
    return int(client.zlexcount(f"retention:index:checkpoint:{name}", "[s", "(u"))


class Watch(threading.Thread):
    """Looks at the threads of a writer all the time: none may ever have less than its newest N."""

    def __init__(self, client: redis.Redis, writer: Writer, keep: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._writer = writer
        self._keep = keep
        self._end = threading.Event()
        self.looks = 0
        self.missing: list[str] = []

    def run(self) -> None:
        while not self._end.is_set():
            for name in self._writer.names:
                self._look_at(name)

    def _look_at(self, name: str) -> None:
        before = len(self._writer.written[name])
        there = set(ids(self._client, name))
        # One more may be there than has been noted.
        after = len(self._writer.written[name]) + 1
        # Those that were among the newest N all the time that the look took.
        surely = self._writer.written[name][max(0, after - self._keep) : before]
        self.missing += [id for id in surely if id not in there]
        if len(there) < min(self._keep, before):
            self.missing.append(f"{name} has {len(there)}")
        self.looks += 1

    def finish(self) -> None:
        """Look no more, and say what was wrong."""
        self._end.set()
        self.join()
        assert self.looks
        assert not self.missing


def shrunk(client: redis.Redis, writer: Writer, most: int, names: Iterable[str] = ()) -> bool:
    """Whether no thread has more checkpoints than that."""
    return all(len(ids(client, name)) <= most for name in names or writer.names)


def assert_newest(client: redis.Redis, writer: Writer, keep: int) -> None:
    """Each thread's newest N are there and are read as they were written."""
    for name in writer.names:
        assert ids(client, name)[-keep:] == writer.newest(name, keep)
        writer.assert_state(name)
