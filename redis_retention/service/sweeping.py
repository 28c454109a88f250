"""When to sweep, and by whom: one of several daemons at a time, and no more often than needed.

Two keys are shared by the daemons of one database, both below our prefix:

``lease:sweep:{saver}``  string  who sweeps, see `redis_retention.lease`
``swept:{saver}``        string  milliseconds since 1970, by the server's clock, at which the last
                                 sweep that was completed had begun
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from time import monotonic
from time import time as seconds_since_1970
from typing import Protocol

from redis.exceptions import ReadOnlyError, RedisError

from redis_retention.activity import Activity, Trim, in_layouts
from redis_retention.engine import Engine
from redis_retention.errors import RetentionError
from redis_retention.lease import Lease
from redis_retention.logs import fields, logger
from redis_retention.results import LayoutResult
from redis_retention.sans_io import Operation, command
from redis_retention.service.schedule import Schedule
from redis_retention.stopping import Stopped, stoppable
from redis_retention.transport import AsyncClient, AsyncTransport, reconnect

log = logger("sweeper")

# How soon to look again while another daemon sweeps, or after a failure.
_LOOK_AGAIN_SECONDS = 5.0
# The clock on the wall may be set while one waits for a time.
_LOOK_AT_CLOCK_SECONDS = 60.0
_LONGEST_SECONDS = 24 * 3600.0
# How much the clocks of several daemons may differ for a sweep to be meant for all.
_SAME_TIME = timedelta(minutes=1)
_SHORTEST_REST_SECONDS = 1.0
# A sweep that is asked for again and again takes at most a third of the time.
_REST_PER_SECOND = 2.0


# Threads that were refused, in the log of one sweep.
_REFUSED_SHOWN = 10


class SweepResult(Protocol):
    """What a sweep has done."""

    threads: int
    threads_trimmed: int
    checkpoints_deleted: int
    checkpoints_kept: int
    keys_deleted: int
    bytes_deleted: int
    refused: dict[bytes, str]
    layouts: dict[str, LayoutResult]
    indexed: set[Engine]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A sweep that is wanted: any that has begun at `since_ms` or later will do."""

    reason: str
    since_ms: int


def utc_now() -> datetime:
    """What time it is, by the clock of this machine."""
    return datetime.now(timezone.utc)


class SharedSweeper:
    """Sweeps when it is due or asked for, unless another daemon does.

    Args:
        client: A client that answers bytes.
        engine: Says how our keys are called.
        sweep: Makes the operation of one sweep.
        schedule: When to sweep without being asked; may be changed while it runs.
        activity: Where to count what is done.
        clock: Answers what time it is, in UTC.
    """

    def __init__(
        self,
        client: AsyncClient,
        engine: Engine,
        sweep: Callable[[], Operation[SweepResult]],
        schedule: Schedule,
        activity: Activity,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.schedule = schedule
        self._client = client
        self._transport = AsyncTransport(client, activity.called)
        self._sweep = sweep
        self._activity = activity
        self._engine = engine
        self._swept_key = f"{engine.prefix}swept:{engine.layout.tag}"
        self._asked: str | None = None
        self._wanted: _Wanted | None = None
        self._clock = clock
        self._next_at = schedule.next_at(clock())
        self._something = asyncio.Event()
        self._stopping = False
        self._rested = 0.0

    def ask(self, reason: str) -> None:
        """Ask for a sweep that begins after now."""
        self._asked = reason
        self._something.set()

    def reschedule(self, schedule: Schedule) -> None:
        """Go by another schedule from now on."""
        self.schedule = schedule
        self._next_at = schedule.next_at(self._clock())
        self._say_times()
        self._something.set()

    def stop(self) -> None:
        """Let `run` end after the call in hand."""
        self._stopping = True
        self._something.set()

    async def run(self) -> None:
        """Sweep until `stop` is called."""
        self._say_times()
        while not self._stopping:
            pause = _LOOK_AGAIN_SECONDS
            try:
                await self._note_what_is_due()
                if self._wanted is None:
                    pause = min(await self._seconds_left(), _LOOK_AT_CLOCK_SECONDS)
                else:
                    pause = await self._satisfy(self._wanted)
            except ReadOnlyError as error:
                # A primary that was demoted may keep its connections: look for the new one.
                self._activity.failed(error)
                log.warning("the server is no primary any more, connecting anew: %s", error)
                await reconnect(self._client)
            except (RedisError, RetentionError, OSError) as error:
                self._activity.failed(error)
                log.warning("cannot sweep now, trying again: %s", error)
            await self._wait(pause)

    async def _wait(self, seconds: float) -> None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._something.wait(), seconds)
        self._something.clear()

    # --- when ------------------------------------------------------------------------------

    async def _note_what_is_due(self) -> None:
        if self._asked is not None:
            self._wanted = await self._take_what_is_asked(self._asked)
        elif self._next_at is not None and self._clock() >= self._next_at:
            now_ms = await self._now_ms()
            self._wanted = _Wanted("it is time", self._begun_for_all(self._next_at, now_ms))
        elif self._wanted is None and await self._seconds_until_due() <= 0:
            self._wanted = _Wanted("it is due", await self._swept_ms() + 1)

    async def _take_what_is_asked(self, reason: str) -> _Wanted:
        # Before the server is asked for the time: what is asked for meanwhile counts anew.
        self._asked = None
        try:
            return _Wanted(reason, await self._now_ms())
        except (RedisError, OSError):
            self._asked = reason
            raise

    def _begun_for_all(self, time: datetime, now_ms: int) -> int:
        """When a sweep must have begun, by the server's clock, to be the one of `time`."""
        now = self._clock()
        self._next_at = self.schedule.next_at(now)
        tolerance = _SAME_TIME
        if self._next_at is not None:
            # No more than half way to the next one, which is another sweep.
            tolerance = min(tolerance, (self._next_at - time) / 2)
        return now_ms - (now - time + tolerance) // timedelta(milliseconds=1)

    async def _seconds_left(self) -> float:
        """Seconds until something may be due."""
        left = await self._seconds_until_due()
        now = self._clock()
        if self._next_at is not None:
            left = min(left, (self._next_at - now).total_seconds())
        left = max(left, 0.0)
        known = self._next_at is not None or self.schedule.every is not None
        self._activity.sweep_next = now.timestamp() + left if known else 0.0
        return left

    def _say_times(self) -> None:
        if self._next_at is not None:
            zone = self.schedule.zone
            log.info(
                "sweeping at these times, too",
                extra=fields(
                    times=", ".join(self.schedule.at),
                    time_zone=str(zone),
                    next=self._next_at.astimezone(zone).isoformat(timespec="minutes"),
                ),
            )

    async def _seconds_until_due(self) -> float:
        if self.schedule.every is None:
            return _LONGEST_SECONDS
        since_ms = await self._now_ms() - await self._swept_ms()
        return self.schedule.every.total_seconds() - since_ms / 1000

    async def _satisfy(self, wanted: _Wanted) -> float:
        """See to it that a sweep is done; answers in how many seconds to look again."""
        if await self._swept_ms() >= wanted.since_ms:
            log.debug("another daemon has swept")
            self._wanted = None
            return 0.0
        rest = self._rested - monotonic()
        if rest > 0:
            return rest
        if not await self._sweep_alone(wanted.reason):
            return _LOOK_AGAIN_SECONDS
        self._wanted = None
        return 0.0

    # --- sweeping --------------------------------------------------------------------------

    async def _sweep_alone(self, reason: str) -> bool:
        """Sweep, unless another daemon does; False when there was no whole sweep."""
        lease = Lease(self._engine)
        if not await self._transport.run(lease.take()):
            log.debug("another daemon sweeps")
            return False
        try:
            return await self._sweep_once(lease, reason)
        finally:
            with suppress(RedisError, OSError):
                await self._transport.run(lease.give_back())

    async def _sweep_once(self, lease: Lease, reason: str) -> bool:
        activity = self._activity
        log.info("sweeping: %s", reason)
        activity.sweep_running, begun = True, monotonic()
        activity.sweep_progress = 0.0
        outcome = "failed"
        begun_ms = await self._now_ms()
        try:
            operation = stoppable(self._sweep(), lambda: self._stopping)
            result = await self._transport.run(lease.keeping(operation))
            await self._transport.run(command("SET", self._swept_key, begun_ms))
            outcome = "done"
            self._report(result, monotonic() - begun)
        except Stopped:
            outcome = "stopped"
            log.info("the sweep was stopped; the next one begins anew")
        finally:
            activity.sweep_running = False
            activity.swept(outcome)
            took = monotonic() - begun
            self._rested = monotonic() + max(_SHORTEST_REST_SECONDS, took * _REST_PER_SECOND)
        return outcome == "done"

    def _report(self, result: SweepResult, seconds: float) -> None:
        activity = self._activity
        activity.sweep_seconds = seconds
        activity.sweep_finished = seconds_since_1970()
        activity.threads = result.threads
        activity.checkpoints = result.checkpoints_kept
        tally = result.checkpoints_deleted, result.keys_deleted, result.bytes_deleted
        layouts = in_layouts(result.layouts)
        activity.trimmed(Trim("sweep", None, result.threads_trimmed, *tally, layouts))
        activity.sweep_progress = 1.0
        activity.threads_refused = len(result.refused)
        for thread, reason in list(result.refused.items())[:_REFUSED_SHOWN]:
            log.warning("left alone: %s", reason, extra=fields(thread=thread))
        log.info(
            "swept",
            extra=fields(
                threads=result.threads,
                threads_trimmed=result.threads_trimmed,
                checkpoints_deleted=result.checkpoints_deleted,
                checkpoints_kept=result.checkpoints_kept,
                keys_deleted=result.keys_deleted,
                seconds=round(seconds, 3),
                layouts=", ".join(result.layouts),
            ),
        )

    async def _now_ms(self) -> int:
        seconds, microseconds = await self._transport.run(command("TIME"))
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _swept_ms(self) -> int:
        return int(await self._transport.run(command("GET", self._swept_key)) or 0)
