"""Works off documents that have changed: the index follows, and threads are trimmed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain
from time import monotonic

import redis.asyncio
from redis.crc import key_slot
from redis.exceptions import (
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,
    TryAgainError,
)

from redis_retention import policies
from redis_retention.activity import Activity, Trim
from redis_retention.engine import UNSUPPORTED, Deleted, Engine, Rule, Tracked
from redis_retention.errors import RetentionError
from redis_retention.layouts.names import title
from redis_retention.logs import fields, logger
from redis_retention.sans_io import command
from redis_retention.sources.keyspace.inbox import Change, Changed, Inbox
from redis_retention.sources.large import LargeCheckpoints
from redis_retention.stopping import Stopped, stoppable
from redis_retention.transport import AsyncClient, AsyncTransport, reconnect

log = logger("listener")

BATCH = 100
WINDOW_SECONDS = 0.01
_RETRY_SECONDS = 0.5
_REMEMBERED_WARNINGS = 1000
# A thread for which the server did not reply in time so often is left to the sweeps, for a while.
_MOST_TIMEOUTS = 3
_SLOW_SECONDS = 300.0

# What passes by itself: the server is starting, failing over, or out of memory.
PASSING = (
    ConnectionError,
    TimeoutError,
    OSError,
    ReadOnlyError,
    OutOfMemoryError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
)
_REFUSALS = (RedisError, RedisClusterException, RetentionError)


class Tracker:
    """Tracks what changes, batch by batch; nothing that fails is lost or ends it.

    Args:
        client: What the transport sends to.
        transport: Runs the engine's operations.
        engine: What trims.
        rules: What to keep of which thread; may be changed while it runs.
        inbox: What has changed.
        activity: Where to count what is done.
        stopping: Set when it is to end.
        on_empty: Called when all that had changed is worked off.
        on_refusal: Called when something is left to the sweeps.

    Attributes:
        unfinished: Threads of which more is to be deleted than one call may, and how often that
            timed out.
    """

    def __init__(
        self,
        client: AsyncClient,
        transport: AsyncTransport,
        engine: Engine,
        rules: Sequence[Rule],
        inbox: Inbox,
        activity: Activity,
        stopping: asyncio.Event,
        on_empty: Callable[[], None],
        on_refusal: Callable[[], None],
    ) -> None:
        self.rules = rules
        self.large = LargeCheckpoints(engine.layout, activity)
        self.unfinished: dict[bytes, int] = {}
        self._client = client
        self._transport = transport
        self._engine = engine
        self._inbox = inbox
        self._activity = activity
        self._stopping = stopping
        self._on_empty = on_empty
        self._on_refusal = on_refusal
        self._stuck = False
        self._warned: dict[bytes, None] = {}
        # How often calls for documents timed out, by their names without the id, and until when
        # they are left alone.
        self._timeouts: dict[bytes, int] = {}
        self._slow_until: dict[bytes, float] = {}

    async def run(self) -> None:
        """Work off what changes, until it is stopped."""
        while True:
            if not self.unfinished:
                await self._inbox.filled()
            if self._stopping.is_set():
                return
            if len(self._inbox) < BATCH:
                await asyncio.sleep(WINDOW_SECONDS)
            await self._work_off(self._inbox.take(BATCH))
            if not len(self._inbox):
                self._on_empty()

    async def _work_off(self, changes: list[Changed]) -> None:
        if self._slow_until:
            quick = self._quick(changes)
            if len(quick) < len(changes):
                self._on_refusal()
            changes = quick
        try:
            await self._track(changes)
        except PASSING as error:
            if await self._is_too_slow(error):
                await self._work_off_apart(changes)
            else:
                await self._retry(changes, error)
        except _REFUSALS:
            await self._work_off_apart(changes)
        else:
            self._stuck = False

    async def _retry(self, changes: Iterable[Changed], error: Exception) -> None:
        """Wait for the server, and then work off these documents first."""
        self._inbox.put_back(changes)
        await self._wait_for_server(error)
        if isinstance(error, ReadOnlyError):
            # A primary that was demoted may keep its connections: look for the new one.
            await reconnect(self._client)

    async def _is_too_slow(self, error: Exception) -> bool:
        """Whether the server takes too long for what it was asked, and replies to others."""
        if not isinstance(error, TimeoutError):
            return False
        try:
            await self._transport.run(command("PING"))
        except (*PASSING, *_REFUSALS):
            return False
        return True

    async def _wait_for_server(self, error: Exception) -> None:
        """Wait before the next attempt, but not for longer than until the end."""
        self._activity.failed(error)
        if not self._stuck:
            log.warning("cannot trim now, trying again: %s", error)
        self._stuck = True
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _RETRY_SECONDS)

    async def _work_off_apart(self, changes: Iterable[Changed]) -> None:
        """Find out which thread it is that the server refuses or is too slow for."""
        apart: dict[bytes, list[Changed]] = {}
        for one in changes:
            apart.setdefault(self._place(one), []).append(one)
        while apart and not self._stopping.is_set():
            name, some = apart.popitem()
            try:
                await self._track(some)
            except PASSING as error:
                if not await self._is_too_slow(error):
                    await self._retry(chain(some, *apart.values()), error)
                    return
                self._try_later(name, some, error)
            except _REFUSALS as error:
                if len(some) > 1:
                    # One document is what the server refuses.
                    apart |= {one.key: [one] for one in some}
                else:
                    self._leave_to_sweeps(name, error)
            else:
                self._timeouts.pop(name, None)
        self._inbox.put_back(chain(*apart.values()))

    def _try_later(self, name: bytes, changes: Iterable[Changed], error: Exception) -> None:
        """Try documents again some times for which the server took too long."""
        if len(self._timeouts) >= _REMEMBERED_WARNINGS:
            self._timeouts.clear()
        self._timeouts[name] = times = self._timeouts.get(name, 0) + 1
        if times < _MOST_TIMEOUTS:
            self._inbox.put_back(changes)
        else:
            self._slow_until[name] = monotonic() + _SLOW_SECONDS
            self._leave_to_sweeps(name, error)

    def _quick(self, changes: list[Changed]) -> list[Changed]:
        """The documents without those that are left to the sweeps for now."""
        now = monotonic()
        self._slow_until = {name: end for name, end in self._slow_until.items() if end > now}
        return [one for one in changes if self._place(one) not in self._slow_until]

    def _place(self, change: Changed) -> bytes:
        """What the documents of one thread and namespace have in common."""
        return self._engine.layout.split(change.key)[0]

    async def _track(self, changes: Sequence[Changed]) -> None:
        """Track documents in as few calls as the server allows."""
        await self._finish_trims()
        for keys in self._callable(changes, Change.WRITTEN):
            tracked = await self._transport.run(self._engine.track(keys, self.rules))
            for thread in tracked:
                await self._trimmed(thread)
            if not self._engine.layout.lists_itself:
                await self._transport.run(self.large.measure(keys))
        for keys in self._callable(changes, Change.GONE):
            forgotten = await self._transport.run(self._engine.forget(keys))
            self._activity.index_entries_forgotten += forgotten
        for one in changes:
            self._activity.lag.add(monotonic() - one.since)

    def _callable(self, changes: Iterable[Changed], change: Change) -> list[list[bytes]]:
        """The keys with this change, in groups that one call may touch."""
        keys = [one.key for one in changes if one.change is change]
        if not isinstance(self._client, redis.asyncio.RedisCluster):
            return [keys] if keys else []
        slots: dict[int, list[bytes]] = defaultdict(list)
        for key in keys:
            slots[key_slot(key)].append(key)
        return list(slots.values())

    async def _trimmed(self, tracked: Tracked) -> None:
        if tracked.unsupported:
            self.warn_once(tracked.thread, UNSUPPORTED)
            return
        if tracked.refused is not None:
            self._leave_to_sweeps(tracked.thread, RetentionError(tracked.refused))
            return
        self._count(tracked.thread, tracked.deleted)
        if tracked.more:
            # Remembered until it is done: a connection may break in the middle of it.
            self.unfinished.setdefault(tracked.thread, 0)
            await self._finish_trims()

    async def _finish_trims(self) -> None:
        """Trim on by the index what was too much for one call."""
        for thread in list(self.unfinished):
            try:
                self._count(thread, await self._go_on(thread))
            except PASSING as error:
                if not await self._is_too_slow(error):
                    raise
                self.unfinished[thread] += 1
                if self.unfinished[thread] < _MOST_TIMEOUTS:
                    continue
                self._leave_to_sweeps(thread, error)
            except _REFUSALS as error:
                self._leave_to_sweeps(thread, error)
            self.unfinished.pop(thread, None)

    def _leave_to_sweeps(self, thread: bytes, error: Exception) -> None:
        """Leave a thread to the sweeps."""
        self._activity.failed(error)
        self._on_refusal()
        self.warn_once(thread, str(error))

    def _count(self, thread: bytes, deleted: Deleted) -> None:
        if not deleted.keys:
            return
        tally, layout = (deleted.checkpoints, deleted.keys), title(self._engine.layout)
        trim = Trim("listener", thread, 1, *tally, deleted.bytes, {layout: (1, *tally)})
        self._activity.trimmed(trim)
        log.debug(
            "trimmed",
            extra=fields(
                thread=thread, layout=layout, checkpoints=deleted.checkpoints, keys=deleted.keys
            ),
        )

    async def _go_on(self, thread: bytes) -> Deleted:
        rule = policies.rule_for(self.rules, thread)
        if rule is None:
            # No rule is for it any more.
            return Deleted()
        operation = self._engine.trim(thread, rule.policy)
        try:
            trimmed = await self._transport.run(stoppable(operation, self._stopping.is_set))
        except Stopped:
            return Deleted()
        return trimmed.deleted

    def warn_once(self, thread: bytes, reason: str) -> None:
        """Log why a thread is left alone, unless that was logged before."""
        if thread in self._warned or len(self._warned) >= _REMEMBERED_WARNINGS:
            return
        self._warned[thread] = None
        log.warning("left alone: %s", reason, extra=fields(thread=thread))
