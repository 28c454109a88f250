"""Listens to the server's own events, and hands on the checkpoint documents that they name.

Events are sent once and to nobody who is not there: whatever is lost, because the connection was
cut or because there was no room, is left to a sweep, which the listener asks for.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING, Any

import redis.asyncio
from redis.backoff import EqualJitterBackoff
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
from redis_retention.activity import Activity
from redis_retention.engine import Engine, RetentionError, Rule, Tally, Tracked
from redis_retention.layouts import Family, too_long
from redis_retention.logs import fields, logger
from redis_retention.sans_io import command
from redis_retention.sources.large import LargeCheckpoints
from redis_retention.sources.notifications import Heard, Probe, Switch, advice, switch_on
from redis_retention.stopping import Stopped, stoppable
from redis_retention.transport import AsyncClient, AsyncTransport, reconnect

if TYPE_CHECKING:
    from redis_retention.sources.subscription import Subscription

log = logger("listener")

BATCH = 100
WINDOW_SECONDS = 0.01
ROOM = 100_000
CHECK_SECONDS = 15.0
_POLL_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_REMEMBERED_WARNINGS = 1000
# A thread for which the server did not reply in time so often is left to the sweeps, for a while.
_MOST_TIMEOUTS = 3
_SLOW_SECONDS = 300.0

# What ends by itself: the server is starting, failing over, or out of memory.
_PASSING = (
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
_BACKOFF = EqualJitterBackoff(cap=30.0, base=0.25)
# From here on the doubled pause is longer than the longest.
_MOST_FAILURES = 10


class Change(Enum):
    """What has happened to a document."""

    WRITTEN = "written"
    GONE = "gone"


# Beside what the layout says. A merge (`json.merge`) adds to a document that has been told of, or
# makes a stub of one to come.
_CHANGES = {
    b"rename_to": Change.WRITTEN,
    b"restore": Change.WRITTEN,
    b"copy_to": Change.WRITTEN,
    b"move_to": Change.WRITTEN,
    b"del": Change.GONE,
    b"expired": Change.GONE,
    b"evicted": Change.GONE,
    b"rename_from": Change.GONE,
    b"move_from": Change.GONE,
}


@dataclass(slots=True)
class Noted:
    """A document that has changed.

    Attributes:
        key: Its key.
        change: The last thing that has happened to it.
        since: When the first has.
    """

    key: bytes
    change: Change
    since: float = field(default_factory=monotonic)


class Inbox:
    """Documents that have changed, each once, the one that has waited longest first.

    Args:
        room: How many it holds at most.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._notes: dict[bytes, Noted] = {}
        self._something = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._notes)

    def put(self, key: bytes, change: Change) -> bool:
        """Note a change; False when there is no room for it."""
        known = self._notes.get(key)
        if known is not None:
            known.change = change
        elif len(self._notes) >= self._room:
            return False
        else:
            self._notes[key] = Noted(key, change)
        self._something.set()
        return True

    def take(self, count: int) -> list[Noted]:
        """Take out those that have waited longest."""
        taken = [self._notes.pop(key) for key in list(self._notes)[:count]]
        if not self._notes and not self._closed:
            self._something.clear()
        return taken

    def put_back(self, notes: Iterable[Noted]) -> None:
        """Put in front again what could not be dealt with, unless it has changed since."""
        returned = {note.key: note for note in notes if note.key not in self._notes}
        self._notes = {**returned, **self._notes}
        if self._notes:
            self._something.set()

    async def filled(self) -> None:
        """Wait until there is something, or the end."""
        await self._something.wait()

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True
        self._something.set()


class State(Enum):
    """How the listener is."""

    STARTING = "starting"
    LISTENING = "listening"
    OFF = "the server reports no events"
    DISCONNECTED = "disconnected"


class _Lost(Exception):
    """Events may have been lost."""


class Listener:
    """Trims each thread when its documents' events say that it has crossed its trigger.

    Args:
        client: A client of its own: of the same server as the engine's, and answering bytes.
        engine: What deals with the documents.
        rules: What to keep of which thread; may be changed while it listens.
        database: The number of the database, which is part of the channels' names.
        activity: Where to count what is done.
        on_gap: Called with a reason when events may have been lost, after events arrive again.
        room: How many changed documents to hold at most.
        check_every: Seconds between two proofs that events still arrive.
    """

    def __init__(
        self,
        client: AsyncClient,
        engine: Engine,
        rules: Sequence[Rule],
        *,
        database: int = 0,
        activity: Activity | None = None,
        on_gap: Callable[[str], None] = lambda _: None,
        room: int = ROOM,
        check_every: float = CHECK_SECONDS,
    ) -> None:
        self.rules = rules
        self.state = State.STARTING
        self.activity = activity or Activity()
        self.large = LargeCheckpoints(self.activity)
        self._client = client
        self._transport = AsyncTransport(client, self.activity.called)
        self._engine = engine
        self._on_gap = on_gap
        self._inbox = Inbox(room)
        self._check_every = check_every
        self._probe = Probe(engine.prefix, engine.layout.events)
        channel = f"__keyspace@{database}__:"
        self._probe_channel = channel + self._probe.key
        families = engine.layout.families().items()
        starts = [start.decode() for start, family in families if family is Family.CHECKPOINT]
        self._patterns = [f"{channel}{_escaped(start)}*" for start in starts]
        written = engine.layout.events.written
        self._changes = {**_CHANGES, **dict.fromkeys(written, Change.WRITTEN)}
        self._settled = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failures = 0
        self._full = False
        self._stuck = False
        self._warned: dict[bytes, None] = {}
        # Threads of which more is to be deleted than one call may, and how often that timed out.
        self._unfinished: dict[bytes, int] = {}
        # How often calls for documents timed out, by their names without the id, and until when
        # they are left alone.
        self._timeouts: dict[bytes, int] = {}
        self._slow_until: dict[bytes, float] = {}

    @property
    def waiting(self) -> int:
        """Changed documents that have not been dealt with."""
        return len(self._inbox)

    def stop(self) -> None:
        """Let `run` end when the batch in hand is done."""
        self._stopping.set()
        self._inbox.close()

    async def settled(self) -> State:
        """Wait until it is known whether events arrive, and say so."""
        await self._settled.wait()
        return self.state

    async def prove(self) -> Heard:
        """Say whether events arrive, and deal with none."""
        async with self._subscribed() as subscription:
            reading = asyncio.create_task(_read_on(subscription))
            try:
                return await self._probe.check(self._transport, self._probe_channel)
            except ReadOnlyError:
                return Heard.UNPROVED
            finally:
                await _cancelled(reading)

    async def run(self) -> None:
        """Listen until `stop` is called; connect again for ever."""
        reader = asyncio.create_task(self._read_forever())
        worker = asyncio.create_task(self._work())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({reader, worker, stop}, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled(reader)
            if self._stopping.is_set():
                await worker
        finally:
            await asyncio.gather(*(_cancelled(task) for task in (reader, worker, stop)))

    # --- reading ---------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        while True:
            try:
                await self._read()
            except (*_PASSING, _Lost, RedisError, RedisClusterException) as error:
                self._disconnected(error)
                if isinstance(error, ReadOnlyError):
                    await reconnect(self._client)
            await asyncio.sleep(_BACKOFF.compute(min(self._failures, _MOST_FAILURES)))
            self._failures += 1

    def _disconnected(self, error: Exception) -> None:
        if not isinstance(error, _Lost):
            self.activity.failed(error)
        if self.state is not State.DISCONNECTED:
            log.warning("not connected: %s; trying again", error)
        self._enter(State.DISCONNECTED)

    async def _read(self) -> None:
        """Read events until the connection fails."""
        async with self._subscribed() as subscription:
            checks = asyncio.create_task(self._check_forever())
            try:
                while not checks.done():
                    await subscription.get_message(timeout=_POLL_SECONDS)
                checks.result()
            finally:
                await _cancelled(checks)

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Subscription]:
        async with _opened(self._client, self._note_gap) as subscription:
            await subscription.listen_to(
                dict.fromkeys(self._patterns, self._heard),
                {self._probe_channel: self._heard_probe},
            )
            yield subscription

    def _heard_probe(self, message: dict[str, Any]) -> None:
        self._probe.hear(message["data"])

    def _heard(self, message: dict[str, Any]) -> None:
        change = self._changes.get(message["data"])
        if change is None:
            return
        self.activity.events += 1
        # Between the first colon and the key stands nothing but the channel's own name.
        key = message["channel"].split(b":", 1)[1]
        excess = too_long(key)
        if excess is not None:
            self._warn_once(*excess)
            return
        if self._inbox.put(key, change):
            return
        self.activity.events_dropped += 1
        if not self._full:
            self._full = True
            log.warning("events are dropped: %d documents wait already", self.waiting)

    # --- checking --------------------------------------------------------------------------

    async def _check_forever(self) -> None:
        """Prove at once and from time to time that events arrive.

        Raises:
            _Lost: Not even the connection works.
        """
        while True:
            switch = await self._transport.run(switch_on(self._engine.layout.events))
            heard = await self._probe.check(self._transport, self._probe_channel)
            if heard is Heard.NOTHING:
                raise _Lost(heard.value)
            if heard is Heard.NO_EVENTS:
                self._events_are_off(switch)
            else:
                self._events_are_on(switch)
            await asyncio.sleep(self._check_every)

    def _events_are_on(self, switch: Switch) -> None:
        before = self.state
        self._failures = 0
        self._enter(State.LISTENING)
        if switch.added:
            log.info("switched on notifications", extra=fields(added=switch.added))
        if before is not State.LISTENING:
            log.info("ready: listening", extra=fields(channel=" ".join(self._patterns)))
            self._note_gap(_GAPS[before])
        elif switch.added:
            log.warning("notifications had been switched off; switched on again")
            self._note_gap("notifications had been switched off")

    def _events_are_off(self, switch: Switch) -> None:
        before = self.state
        self._failures = 0
        self._enter(State.OFF)
        if before is State.OFF:
            return
        said = f" (the server says: {switch.refusal})" if switch.refusal else ""
        log.warning(
            "the server reports no events%s, so only sweeps trim; to change that, %s",
            said,
            advice(self._engine.layout.events),
        )

    def _enter(self, state: State) -> None:
        self.state = state
        self.activity.listening = state is State.LISTENING
        if state in (State.LISTENING, State.OFF):
            self._settled.set()

    def _note_gap(self, reason: str) -> None:
        self.activity.gaps += 1
        self._on_gap(reason)

    # --- working ---------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            if not self._unfinished:
                await self._inbox.filled()
            if self._stopping.is_set():
                return
            if self.waiting < BATCH:
                await asyncio.sleep(WINDOW_SECONDS)
            await self._deal_with(self._inbox.take(BATCH))
            self._notice_room()

    def _notice_room(self) -> None:
        if self._full and not self.waiting:
            self._full = False
            log.info("all events that were kept are dealt with", extra=self._counted())
            self._note_gap("events were dropped")

    def _counted(self) -> dict[str, dict[str, Any]]:
        return fields(dropped=self.activity.events_dropped)

    async def _deal_with(self, notes: list[Noted]) -> None:
        if self._slow_until:
            notes = self._quick(notes)
        try:
            await self._send(notes)
        except _PASSING as error:
            if await self._is_too_slow(error):
                await self._send_apart(notes)
            else:
                await self._retry(notes, error)
        except _REFUSALS:
            await self._send_apart(notes)
        else:
            self._stuck = False

    async def _retry(self, notes: Iterable[Noted], error: Exception) -> None:
        """Wait for the server, and then deal with these documents first."""
        self._inbox.put_back(notes)
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
        except (*_PASSING, *_REFUSALS):
            return False
        return True

    async def _wait_for_server(self, error: Exception) -> None:
        """Wait before the next attempt, but not for longer than until the end."""
        self.activity.failed(error)
        if not self._stuck:
            log.warning("cannot trim now, trying again: %s", error)
        self._stuck = True
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _RETRY_SECONDS)

    async def _send_apart(self, notes: Iterable[Noted]) -> None:
        """What the server refuses, or is too slow for, is one thread's: let the others through."""
        apart: dict[bytes, list[Noted]] = {}
        for note in notes:
            apart.setdefault(_place(note.key), []).append(note)
        while apart and not self._stopping.is_set():
            name, some = apart.popitem()
            try:
                await self._send(some)
            except _PASSING as error:
                if not await self._is_too_slow(error):
                    await self._retry(chain(some, *apart.values()), error)
                    return
                self._try_later(name, some, error)
            except _REFUSALS as error:
                if len(some) > 1:
                    # One document is what the server refuses.
                    apart |= {note.key: [note] for note in some}
                else:
                    self._set_aside(name, error)
            else:
                self._timeouts.pop(name, None)
        self._inbox.put_back(chain(*apart.values()))

    def _try_later(self, name: bytes, notes: Iterable[Noted], error: Exception) -> None:
        """Try documents again some times for which the server took too long."""
        if len(self._timeouts) >= _REMEMBERED_WARNINGS:
            self._timeouts.clear()
        self._timeouts[name] = times = self._timeouts.get(name, 0) + 1
        if times < _MOST_TIMEOUTS:
            self._inbox.put_back(notes)
        else:
            self._slow_until[name] = monotonic() + _SLOW_SECONDS
            self._set_aside(name, error)

    def _quick(self, notes: list[Noted]) -> list[Noted]:
        """The documents without those that are left to the sweeps for now."""
        now = monotonic()
        self._slow_until = {name: end for name, end in self._slow_until.items() if end > now}
        return [note for note in notes if _place(note.key) not in self._slow_until]

    async def _send(self, notes: Sequence[Noted]) -> None:
        """Deal with documents in as few calls as the server allows."""
        await self._finish_trims()
        for keys in self._callable(notes, Change.WRITTEN):
            tracked = await self._transport.run(self._engine.track(keys, self.rules))
            for thread in tracked:
                await self._trimmed(thread)
            if not self._engine.layout.lists_itself:
                await self._transport.run(self.large.measure(keys))
        for keys in self._callable(notes, Change.GONE):
            forgotten = await self._transport.run(self._engine.forget(keys))
            self.activity.index_entries_forgotten += forgotten
        for note in notes:
            self.activity.lag.add(monotonic() - note.since)

    def _callable(self, notes: Iterable[Noted], change: Change) -> list[list[bytes]]:
        """The keys with this change, in groups that one call may touch."""
        keys = [note.key for note in notes if note.change is change]
        if not isinstance(self._client, redis.asyncio.RedisCluster):
            return [keys] if keys else []
        slots: dict[int, list[bytes]] = defaultdict(list)
        for key in keys:
            slots[key_slot(key)].append(key)
        return list(slots.values())

    async def _trimmed(self, tracked: Tracked) -> None:
        if tracked.unjudged:
            self._warn_once(tracked.thread, _UNJUDGED)
            return
        if tracked.refused is not None:
            self._set_aside(tracked.thread, RetentionError(tracked.refused))
            return
        self._count(tracked.thread, tracked.deleted)
        if tracked.more:
            # Remembered until it is done: a connection may break in the middle of it.
            self._unfinished.setdefault(tracked.thread, 0)
            await self._finish_trims()

    async def _finish_trims(self) -> None:
        """Trim on by the index what was too much for one call."""
        for thread in list(self._unfinished):
            try:
                self._count(thread, await self._go_on(thread))
            except _PASSING as error:
                if not await self._is_too_slow(error):
                    raise
                self._unfinished[thread] += 1
                if self._unfinished[thread] < _MOST_TIMEOUTS:
                    continue
                self._set_aside(thread, error)
            except _REFUSALS as error:
                self._set_aside(thread, error)
            self._unfinished.pop(thread, None)

    def _set_aside(self, thread: bytes, error: Exception) -> None:
        """Leave a thread to the sweeps."""
        self.activity.failed(error)
        self._warn_once(thread, str(error))

    def _count(self, thread: bytes, deleted: Tally) -> None:
        if not deleted.keys:
            return
        self.activity.trimmed(deleted.checkpoints, deleted.keys, deleted.bytes)
        log.debug(
            "trimmed",
            extra=fields(thread=thread, checkpoints=deleted.checkpoints, keys=deleted.keys),
        )

    async def _go_on(self, thread: bytes) -> Tally:
        rule = policies.rule_for(self.rules, thread)
        if rule is None:
            # Nobody wants it any more.
            return Tally()
        operation = self._engine.trim(thread, rule.policy)
        try:
            trimmed = await self._transport.run(stoppable(operation, self._stopping.is_set))
        except Stopped:
            return Tally()
        return trimmed.deleted

    def _warn_once(self, thread: bytes, reason: str) -> None:
        if thread in self._warned or len(self._warned) >= _REMEMBERED_WARNINGS:
            return
        self._warned[thread] = None
        log.warning("left alone: %s", reason, extra=fields(thread=thread))


def _place(key: bytes) -> bytes:
    """What the documents of one thread and namespace have in common."""
    return key.rpartition(b":")[0]


_UNJUDGED = "a checkpoint says something that this version cannot judge"

_GAPS = {
    State.STARTING: "the listener has started",
    State.DISCONNECTED: "the connection was lost",
    State.OFF: "notifications were off",
}


async def _read_on(subscription: Subscription) -> None:
    while True:
        await subscription.get_message(timeout=_POLL_SECONDS)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def _opened(
    client: AsyncClient, on_gap: Callable[[str], None]
) -> AsyncIterator[Subscription]:
    try:
        from redis_retention.sources.subscription import open_subscription
    except ImportError as error:
        raise RetentionError(
            "this redis-py cannot listen to keyspace notifications: pip install 'redis>=8'"
        ) from error
    subscription = open_subscription(client, on_gap)
    try:
        yield subscription
    finally:
        await subscription.close()


def _escaped(prefix: str) -> str:
    """A prefix that a pattern takes literally. An ACL rule must say it in the same way."""
    return re.sub(r"([*?\[\\])", r"\\\1", prefix)
