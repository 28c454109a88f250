"""Trims after puts, beside them or within: in one thread, or in one task of an event loop."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from redis_retention.langgraph.puts import Put
from redis_retention.langgraph.trimmer import PASSING, Trimmer
from redis_retention.sans_io import Command, Operation
from redis_retention.transport import AsyncTransport, Transport

# Puts that wait at most.
_MOST_WAITING = 10_000
# Puts that cross nothing wait for so long for others to share a call with.
_WINDOW_SECONDS = 0.05
# And so long, and so many of one thread, where a put pays for all: the steps of a run that take no
# time share one call, those that ask a model have each their own.
_INLINE_SECONDS = 0.25
_MOST_SHARING = 20
_RETRY_SECONDS = 1.0
# For how long a program that ends waits for the last trims.
_CLOSE_SECONDS = 30.0
# A worker checks so often whether its saver is gone.
_IDLE_SECONDS = 60.0


class _Queue:
    """The puts that wait; when they are too many, their threads are asked for anew."""

    def __init__(self, trimmer: Trimmer) -> None:
        self._trimmer = trimmer
        self._waiting: deque[Put] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, put: Put) -> None:
        if len(self._waiting) < _MOST_WAITING:
            self._waiting.append(put)
        else:
            self._trimmer.counts.dropped += 1
            self._trimmer.puts.forget([put.thread])

    def take(self) -> list[Put]:
        taken = list(self._waiting)
        self._waiting.clear()
        return taken

    def put_back(self, puts: list[Put]) -> None:
        self._waiting.extendleft(reversed(puts[: _MOST_WAITING - len(self._waiting)]))


def _threads(puts: list[Put]) -> list[bytes]:
    return [put.thread for put in puts]


def _give_up(trimmer: Trimmer, puts: list[Put], error: Exception) -> None:
    """Tell what went wrong, and let the next put of each thread make up for it."""
    trimmer.puts.forget(_threads(puts))
    trimmer.failed(error, _threads(puts))


def _all_of(commands: Sequence[Command]) -> Operation[None]:
    """Send commands again of which it is not known whether they have arrived."""
    if commands:
        yield list(commands)


def _due(trimmer: Trimmer, put: Put | None) -> list[Put]:
    """What is to be worked off within a put."""
    if put is None:
        return []
    return trimmer.puts.take_due(put, window=_INLINE_SECONDS, most=_MOST_SHARING)


class Inline:
    """Trims within puts, along with the last command of the saver's own."""

    def __init__(self, trimmer: Trimmer, transport: Transport) -> None:
        self._trimmer = trimmer
        self._transport = transport
        _open.add(self)

    def put(self, put: Put | None, last: Sequence[Command]) -> None:
        """Index a checkpoint, now or with a later one, and trim its thread if it is too long.

        Args:
            put: What was put, None if nothing is to be done about it.
            last: What the saver has still to send: only that may fail the put.
        """
        self._work_off(_due(self._trimmer, put), last)

    def _work_off(self, puts: list[Put], last: Sequence[Command]) -> None:
        if not puts:
            self._transport.run(_all_of(last))
            return
        self._trimmer.puts.count_as_indexed(puts)
        try:
            self._transport.run(self._trimmer.work_off(puts, last))
        except Exception as error:
            _give_up(self._trimmer, puts, error)
            self._transport.run(_all_of(last))

    def close(self) -> None:
        """Index what waits."""
        self._work_off(self._trimmer.puts.take_all(), ())

    def stop(self) -> None:
        """The next put of a thread makes up for what waits when it was not closed."""


class Worker:
    """Trims in a thread of its own, which starts with the first put."""

    def __init__(self, trimmer: Trimmer, transport: Transport) -> None:
        self._trimmer = trimmer
        self._transport = transport
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        self._process = os.getpid()
        self._queue = _Queue(self._trimmer)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._urgent = False
        self._closing = False

    def put(self, put: Put) -> None:
        """Remember a put, and return at once."""
        if self._process != os.getpid():
            # A fork has taken neither the thread along nor, perhaps, a lock that is free. What
            # waits is the parent's to do.
            self._begin()
        with self._changed:
            self._queue.append(put)
            self._start()
            if put.urgent and not self._urgent:
                self._urgent = True
                self._changed.notify()
            elif len(self._queue) == 1:
                self._changed.notify()

    def _start(self) -> None:
        if self._thread is None:
            self._closing = False
            self._thread = threading.Thread(target=self._run, name="retention", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Work off what waits, and end the thread. A later put starts it again."""
        if self._process != os.getpid():
            return
        with self._changed:
            thread, self._closing = self._thread, True
            self._changed.notify()
        if thread is not None:
            thread.join(_CLOSE_SECONDS)

    def stop(self) -> None:
        """Have the thread end when it has worked off what waits, without waiting for that.

        The last reference to a saver may go anywhere, so that no lock is waited for here.
        """
        self._closing = True
        if self._changed.acquire(blocking=False):
            self._changed.notify()
            self._changed.release()

    def _run(self) -> None:
        while (puts := self._next()) is not None:
            self._trimmer.puts.count_as_indexed(puts)
            try:
                self._transport.run(self._trimmer.work_off(puts))
            except PASSING as error:
                self._trimmer.failed(error, _threads(puts))
                self._try_again(puts)
            except Exception as error:
                _give_up(self._trimmer, puts, error)

    def _next(self) -> list[Put] | None:
        """What there is to do, once there is something; None at the end."""
        with self._changed:
            while not len(self._queue) and not self._closing:
                self._changed.wait(_IDLE_SECONDS)
            self._changed.wait_for(lambda: self._urgent or self._closing, _WINDOW_SECONDS)
            self._urgent = False
            if not len(self._queue):
                self._thread = None
                return None
            return self._queue.take()

    def _try_again(self, puts: list[Put]) -> None:
        with self._changed:
            if self._closing:
                self._trimmer.puts.forget(_threads(puts))
                return
            self._queue.put_back(puts)
            self._changed.wait_for(lambda: self._closing, _RETRY_SECONDS)


_open: WeakSet[Inline | Worker] = WeakSet()


def _close_all() -> None:
    """Also a program that ends without closing its savers finishes what waits."""
    for trims in list(_open):
        trims.close()


atexit.register(_close_all)


class AsyncInline:
    """Trims within puts; like `Inline`, but for the ``await``."""

    def __init__(self, trimmer: Trimmer, transport: AsyncTransport) -> None:
        self._trimmer = trimmer
        self._transport = transport

    async def put(self, put: Put | None, last: Sequence[Command]) -> None:
        """Index a checkpoint, now or with a later one, and trim its thread if it is too long.

        Args:
            put: What was put, None if nothing is to be done about it.
            last: What the saver has still to send: only that may fail the put.
        """
        await self._work_off(_due(self._trimmer, put), last)

    async def _work_off(self, puts: list[Put], last: Sequence[Command]) -> None:
        if not puts:
            await self._transport.run(_all_of(last))
            return
        self._trimmer.puts.count_as_indexed(puts)
        try:
            await self._transport.run(self._trimmer.work_off(puts, last))
        except Exception as error:
            _give_up(self._trimmer, puts, error)
            await self._transport.run(_all_of(last))

    async def close(self) -> None:
        """Index what waits."""
        await self._work_off(self._trimmer.puts.take_all(), ())


class AsyncWorker:
    """Trims in one task, which is there while something waits."""

    def __init__(self, trimmer: Trimmer, transport: AsyncTransport) -> None:
        self._trimmer = trimmer
        self._transport = transport
        self._queue = _Queue(trimmer)
        self._task: asyncio.Task[Any] | None = None
        self._urgent = asyncio.Event()
        self._closing = asyncio.Event()

    async def put(self, put: Put) -> None:
        """Remember a put, and return at once."""
        self._queue.append(put)
        self._start()
        if put.urgent:
            self._urgent.set()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        task = self._task
        if task is None or task.done() or task.get_loop() is not loop:
            self._urgent, self._closing = asyncio.Event(), asyncio.Event()
            self._task = loop.create_task(self._run())

    async def close(self) -> None:
        """Work off what waits."""
        self._closing.set()
        self._urgent.set()
        if self._task is not None and self._task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait({self._task}, timeout=_CLOSE_SECONDS)

    async def _run(self) -> None:
        while len(self._queue):
            await _happens(self._urgent, _WINDOW_SECONDS)
            if not self._closing.is_set():
                self._urgent.clear()
            puts = self._queue.take()
            self._trimmer.puts.count_as_indexed(puts)
            try:
                await self._transport.run(self._trimmer.work_off(puts))
            except PASSING as error:
                self._trimmer.failed(error, _threads(puts))
                await self._try_again(puts)
            except Exception as error:
                _give_up(self._trimmer, puts, error)

    async def _try_again(self, puts: list[Put]) -> None:
        if self._closing.is_set():
            self._trimmer.puts.forget(_threads(puts))
            return
        self._queue.put_back(puts)
        await _happens(self._closing, _RETRY_SECONDS)


async def _happens(event: asyncio.Event, seconds: float) -> None:
    """Wait for something, but not for longer than that."""
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
