"""Several real savers whose commands are let through one at a time, in an order that a test says.

Each saver runs in a thread of its own and stops before every command that it sends. What is between
two commands is exactly what another client's command may come between on a server: within a
pipeline that is no transaction too, since the server reads a large one in pieces; never within a
transaction.

    with Writers(server.url, 2) as writers:
        lagging = writers[0]
        lagging.begin([lambda writer: put(writer.saver, "a", name)])
        lagging.step()  # JSON.SET
        ...             # whatever may come in between
        lagging.step()  # SET of the pointer
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeAlias, cast

import redis
from langgraph.checkpoint.redis import RedisSaver
from langgraph.checkpoint.redis.shallow import ShallowRedisSaver
from redis.client import Pipeline

PATIENCE = 30.0
"""Seconds for one command; only a saver that hangs takes as long."""


class Died(BaseException):
    """Ends a writer where it stands. No `Exception`: a saver must not catch it."""


class _Gated(redis.Redis):
    """A client that asks before it sends a command."""

    gate: Callable[[], None] = staticmethod(lambda: None)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        self.gate()
        send: Any = super().execute_command
        return send(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        made = _GatedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        made.gate, made.in_one = self.gate, transaction
        return made


class _GatedPipeline(Pipeline):
    gate: Callable[[], None] = staticmethod(lambda: None)
    in_one = True
    """It is a transaction, into which nobody comes."""

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if self.in_one:
            self.gate()
            return super().execute(raise_on_error)
        commands, replies = list(self.command_stack), []
        self.reset()
        for one in commands:
            self.gate()
            self.command_stack = [one]
            replies += super().execute(raise_on_error)
        return replies


Operation: TypeAlias = "Callable[[Writer], object]"


class Writer:
    """A host with a saver, and a shallow saver, whose commands `step` lets through."""

    def __init__(self, url: str) -> None:
        self.client = cast(_Gated, _Gated.from_url(url, socket_timeout=PATIENCE))
        self.saver = RedisSaver(redis_client=self.client)
        self.saver.setup()
        self.shallow = ShallowRedisSaver(redis_client=self.client)
        self.shallow.setup()
        self.client.gate = self._wait
        self._go: SimpleQueue[bool] = SimpleQueue()
        self._stands: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether there is something that it has not sent yet."""
        return self._thread is not None

    def begin(self, operations: Sequence[Operation]) -> None:
        """Take up what is to be done, and stop before the first command."""
        assert not self.busy
        self._thread = threading.Thread(target=self._work, args=(operations,), daemon=True)
        self._thread.start()
        self._stop()

    def step(self) -> None:
        """Send one command."""
        self._go.put(True)
        self._stop()

    def finish(self) -> None:
        """Send all that is left."""
        while self.busy:
            self.step()

    def die(self) -> None:
        """Never send the next command, nor any other."""
        self._go.put(False)
        self._stop()

    def look(self) -> None:
        """Stop before something that is read: what comes next sees the database as it is then."""
        self._wait()

    def close(self) -> None:
        if self.busy:
            self.die()
        self.client.close()

    def _stop(self) -> None:
        """Wait until it stands before its next command, or has ended."""
        assert self._thread is not None
        problem = self._stands.get(timeout=PATIENCE)
        if problem is not None:
            self._thread.join()
            self._thread = None
            if not isinstance(problem, _Ended | Died):
                raise problem

    def _wait(self) -> None:
        if threading.current_thread() is not self._thread:
            return
        self._stands.put(None)
        if not self._go.get():
            raise Died

    def _work(self, operations: Sequence[Operation]) -> None:
        try:
            for operation in operations:
                operation(self)
        except BaseException as problem:
            self._stands.put(problem)
        else:
            self._stands.put(_Ended())


class _Ended(Exception):
    """It has done everything."""


class Writers:
    """Some writers on a server, as a context manager."""

    def __init__(self, url: str, count: int) -> None:
        self.all = [Writer(url) for _ in range(count)]

    def __enter__(self) -> Writers:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for writer in self.all:
            writer.close()

    def __getitem__(self, number: int) -> Writer:
        return self.all[number]
