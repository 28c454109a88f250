"""Listens to the server's own events, and proves from time to time that they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from redis.backoff import EqualJitterBackoff
from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError

from redis_retention import policies
from redis_retention.activity import Activity
from redis_retention.engine import Engine, Rule
from redis_retention.layouts import too_long
from redis_retention.layouts.names import title
from redis_retention.logs import fields
from redis_retention.served import Served
from redis_retention.sources.keyspace.condition import Condition, Lost, State, log
from redis_retention.sources.keyspace.inbox import ROOM, Inbox
from redis_retention.sources.keyspace.routes import Route, Routes
from redis_retention.sources.keyspace.tracking import PASSING, Tracker
from redis_retention.sources.notifications import Heard, Probe, opened, switch_on
from redis_retention.transport import AsyncClient, AsyncTransport, reconnect

if TYPE_CHECKING:
    from redis_retention.sources.subscription import Subscription

CHECK_SECONDS = 15.0
_POLL_SECONDS = 1.0
_BACKOFF = EqualJitterBackoff(cap=30.0, base=0.25)
# From here on the doubled pause is longer than the longest.
_MOST_FAILURES = 10


class Listener:
    """Trims each thread when its documents' events say that it has crossed its trigger.

    Args:
        client: A client of its own: of the same server as the engine's, and answering bytes.
        served: What trims: the formats, or the engine of one.
        rules: What to keep of which thread.
        database: The number of the database, which is part of the channels' names.
        activity: Where to count what is done.
        on_gap: Called with a reason when events may have been lost, after events arrive again.
        on_doubt: Called at once when a document may not get into its index: an event may have been
            missed, or the server has refused it.
        on_proof: Called each time that it was proved that events arrive, with the formats that are
            listened to.
        room: How many changed documents to hold at most.
        check_every: Seconds between two proofs that events still arrive.
    """

    def __init__(
        self,
        client: AsyncClient,
        served: Served | Engine,
        rules: Sequence[Rule],
        *,
        database: int = 0,
        activity: Activity | None = None,
        on_gap: Callable[[str], None] = lambda _: None,
        on_doubt: Callable[[], None] = lambda: None,
        on_proof: Callable[[Sequence[Engine]], None] = lambda _: None,
        room: int = ROOM,
        check_every: float = CHECK_SECONDS,
    ) -> None:
        self.activity = activity or Activity()
        self._client = client
        self._transport = AsyncTransport(client, self.activity.called)
        self._condition = Condition(self.activity, on_gap, on_doubt)
        self._on_doubt = on_doubt
        self._on_proof = on_proof
        self._check_every = check_every
        self._stopping = asyncio.Event()
        self._check_now = asyncio.Event()
        self._failures = 0
        self._full = False
        served = Served.of(served) if isinstance(served, Engine) else served
        self.routes = Routes([self._route(engine, served, room) for engine in served.engines])
        self.rules = rules
        self._probe = Probe(served.first.prefix, served.first.layout.events)
        channel = f"__keyspace@{database}__:"
        self._probe_channel = channel + self._probe.key
        self._channel = channel
        self._patterns: set[str] = set()

    def _route(self, engine: Engine, served: Served, room: int) -> Route:
        inbox = Inbox(room)
        tracker = Tracker(
            self._client,
            self._transport,
            engine,
            (),
            inbox,
            self.activity,
            self._stopping,
            self._check_room,
            self._on_doubt,
        )
        return Route(engine, tracker, inbox, met=not served.auto or engine is served.first)

    @property
    def tracker(self) -> Tracker:
        """What works off the documents of the first format."""
        return self.routes.all[0].tracker

    @property
    def rules(self) -> Sequence[Rule]:
        """What to keep of which thread; may be changed while it listens."""
        return self._rules

    @rules.setter
    def rules(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        for route in self.routes.all:
            route.tracker.rules = policies.for_layout(rules, title(route.engine.layout))

    def warn_above(self, size: int | None) -> None:
        """Count and name new checkpoints with more bytes; None for none."""
        for route in self.routes.all:
            route.tracker.large.threshold = size

    def meet(self, engines: Iterable[Engine]) -> None:
        """Listen to formats as well of which there is something now."""
        for engine in engines:
            if self.routes.meet(engine):
                log.info("serving", extra=fields(layout=title(engine.layout)))
                self._check_now.set()

    @property
    def waiting(self) -> int:
        """Changed documents that have not been worked off."""
        return sum(len(route.inbox) for route in self.routes.all)

    @property
    def behind(self) -> float:
        """Seconds for which the oldest change has waited, 0 when none does."""
        return max(route.inbox.oldest() for route in self.routes.all)

    @property
    def state(self) -> State:
        """How it is."""
        return self._condition.state

    def stop(self) -> None:
        """Let `run` end when the batch in hand is done."""
        self._stopping.set()
        for route in self.routes.all:
            route.inbox.close()

    async def settled(self) -> State:
        """Wait until it is known whether events arrive, and say so."""
        return await self._condition.settled()

    async def prove(self) -> Heard:
        """Say whether events arrive, and work off none."""
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
        workers = [asyncio.create_task(route.tracker.run()) for route in self.routes.all]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({reader, *workers, stop}, return_when=asyncio.FIRST_COMPLETED)
            await _cancelled(reader)
            if self._stopping.is_set():
                await asyncio.gather(*workers)
        finally:
            await asyncio.gather(*(_cancelled(task) for task in (reader, *workers, stop)))

    # --- reading ---------------------------------------------------------------------------

    async def _read_forever(self) -> None:
        while True:
            try:
                await self._read()
            except (*PASSING, Lost, RedisError, RedisClusterException) as error:
                self._condition.disconnected(error)
                if isinstance(error, ReadOnlyError):
                    await reconnect(self._client)
            await asyncio.sleep(_BACKOFF.compute(min(self._failures, _MOST_FAILURES)))
            self._failures += 1

    async def _read(self) -> None:
        """Read events until the connection fails."""
        async with self._subscribed() as subscription:
            checks = asyncio.create_task(self._check_forever(subscription))
            try:
                while not checks.done():
                    await subscription.get_message(timeout=_POLL_SECONDS)
                checks.result()
            finally:
                await _cancelled(checks)

    @asynccontextmanager
    async def _subscribed(self) -> AsyncIterator[Subscription]:
        async with opened(self._client, self._condition.note_gap) as subscription:
            self._patterns = set()
            await subscription.listen_to({}, {self._probe_channel: self._heard_probe})
            await self._listen_to_new(subscription)
            yield subscription

    async def _listen_to_new(self, subscription: Subscription) -> None:
        """Subscribe to the documents of formats of which there is something now."""
        new = self.routes.patterns(self._channel) - self._patterns
        if new:
            await subscription.listen_to(dict.fromkeys(new, self._heard), {})
            self._patterns |= new

    def _heard_probe(self, message: dict[str, Any]) -> None:
        self._probe.hear(message["data"])

    def _heard(self, message: dict[str, Any]) -> None:
        # Between the first colon and the key stands nothing but the channel's own name.
        key = message["channel"].split(b":", 1)[1]
        changes = self.routes.of(key, message["data"])
        if not changes:
            return
        self.activity.events += 1
        excess = too_long(key)
        if excess is not None:
            self.tracker.warn_once(*excess)
            return
        dropped = [route for route, change in changes if not route.inbox.put(key, change)]
        if not dropped:
            return
        self.activity.events_dropped += 1
        if not self._full:
            self._full = True
            self._on_doubt()
            log.warning("events are dropped: %d documents wait already", self.waiting)

    def _check_room(self) -> None:
        """Ask for a sweep when dropped events could be made up for."""
        if self._full and not self.waiting:
            self._full = False
            dropped = fields(dropped=self.activity.events_dropped)
            log.info("all events that were not dropped are worked off", extra=dropped)
            self._condition.note_gap("events were dropped")

    # --- checking --------------------------------------------------------------------------

    async def _check_forever(self, subscription: Subscription) -> None:
        """Prove at once and from time to time that events arrive.

        Raises:
            Lost: Not even the connection works.
        """
        while True:
            self._check_now.clear()
            listened = self.routes.listened()
            await self._listen_to_new(subscription)
            events = self.routes.events()
            self._probe.trial = events.trial
            switch = await self._transport.run(switch_on(events))
            heard = await self._probe.check(self._transport, self._probe_channel)
            if heard is Heard.NOTHING:
                raise Lost(heard.value)
            self._failures = 0
            if heard is Heard.NO_EVENTS:
                self._condition.off(switch, events)
            else:
                self._condition.on(switch, self._patterns)
                if heard is Heard.EVENTS:
                    self._on_proof(listened)
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._check_now.wait(), self._check_every)


async def _read_on(subscription: Subscription) -> None:
    while True:
        await subscription.get_message(timeout=_POLL_SECONDS)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
