"""The service: the listener and the sweeper in one process, for a year.

It starts only where it can work, and says in one line why not. Once it has started it outlives
every failure of the server, and ends only when it is stopped.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from redis.exceptions import RedisError

from redis_retention.activity import Activity
from redis_retention.complete import EachCompleteness
from redis_retention.engine import Engine, Rule
from redis_retention.errors import RetentionError, ServerLacks
from redis_retention.layouts.names import title
from redis_retention.logs import fields, logger
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.service.rules import Options, ServiceRules
from redis_retention.service.sweeping import SharedSweeper, SweepResult
from redis_retention.sources.keyspace import CHECK_SECONDS, Listener, State
from redis_retention.sources.meeting import meet
from redis_retention.sources.notifications import advice
from redis_retention.transport import AsyncClient, AsyncTransport

log = logger("daemon")

Told = Callable[[float], None]
"""Is called with how much of something is done, from 0 to 1."""

SUMMARY_SECONDS = 60.0
_SETTLE_SECONDS = 10.0
# SIGTERM ends the service within a second, whatever the server does.
_STOP_SECONDS = 0.7
_CLOSE_SECONDS = 0.1
# Changes that wait for longer are not in their indexes for too long.
_LONGEST_BACKLOG_SECONDS = 1.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Daemon:
    """Runs until SIGTERM or SIGINT; SIGHUP reads options and stored policies anew.

    Args:
        client: A client that answers bytes and does not try again by itself; it is closed.
        served: What trims: the formats, or the engine of one.
        options: What to do.
        sweep: Makes the operation of one sweep by rules, which reports its progress; None for
            the listener alone.
        reread: Reads the options again.
        database: The number of the database.
        check_every: Seconds between two proofs that events still arrive.
    """

    def __init__(
        self,
        client: AsyncClient,
        served: Served | Engine,
        options: Options,
        sweep: Callable[[Sequence[Rule], Told], Operation[SweepResult]] | None = None,
        *,
        reread: Callable[[], Options] | None = None,
        database: int = 0,
        check_every: float = CHECK_SECONDS,
    ) -> None:
        self.activity = Activity()
        self._client = client
        self._transport = AsyncTransport(client)
        self._served = served = Served.of(served) if isinstance(served, Engine) else served
        self._reread = reread or (lambda: options)
        self._stop = asyncio.Event()
        self._rules = ServiceRules(
            self._transport, served.policies, options, self.activity, self._use_rules
        )
        self._ticked = monotonic()
        self._completeness = EachCompleteness(served.engines)
        self._completeness_due = asyncio.Event()
        self._listener = Listener(
            client,
            served,
            (),
            database=database,
            activity=self.activity,
            on_gap=self._ask_for_sweep,
            on_doubt=self._doubt,
            on_proof=self._note_proof,
            check_every=check_every,
        )
        self._listener.warn_above(options.warn_checkpoint_bytes)
        self._sweeper = self._new_sweeper(sweep)

    def _new_sweeper(
        self, sweep: Callable[[Sequence[Rule], Told], Operation[SweepResult]] | None
    ) -> SharedSweeper | None:
        schedule = self._rules.options.schedule
        if sweep is None or schedule is None:
            return None

        def made() -> Operation[SweepResult]:
            swept = self._swept(sweep(self._rules.current, self._note_progress))
            return self._completeness.during(swept)

        return SharedSweeper(self._client, self._served.first, made, schedule, self.activity)

    def _swept(self, sweep: Operation[SweepResult]) -> Operation[SweepResult]:
        """A sweep, which may have met formats of which there was nothing before."""
        result = yield from sweep
        engines = self._served.engines
        self._listener.meet(one for one in engines if title(one.layout) in result.layouts)
        return result

    def _note_progress(self, share: float) -> None:
        self.activity.sweep_progress = share

    # --- what others ask -------------------------------------------------------------------

    @property
    def healthy(self) -> bool:
        """Whether the process still does something."""
        return monotonic() - self._ticked < SUMMARY_SECONDS

    @property
    def ready(self) -> bool:
        """Whether it is connected: it listens, or knows that only sweeps can trim here."""
        return self._listener.state in (State.LISTENING, State.OFF)

    @property
    def waiting(self) -> int:
        """Changed documents that have not been worked off."""
        return self._listener.waiting

    async def is_ready(self) -> bool:
        """Whether it is connected, see `ready`."""
        return self.ready

    def rules_changed(self) -> None:
        """Read the stored policies anew, soon."""
        self._rules.ask()

    def service(self) -> dict[str, Any]:
        """What it does, for `/api/health`."""
        return self.activity.service(self.waiting)

    # --- running ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Run until stopped.

        Raises:
            RetentionError: It cannot work with this server.
            redis.exceptions.RedisError: The server cannot be reached, or refuses.
        """
        try:
            await self._start()
            await self._serve()
        finally:
            with suppress(asyncio.TimeoutError, RedisError, OSError):
                await asyncio.wait_for(self._client.aclose(), _CLOSE_SECONDS)

    async def _start(self) -> None:
        await self._require_formats()
        await self._rules.read()
        if not self._rules.current:
            raise RetentionError(
                "nothing says what to keep: give --keep-last or the like, or store a policy with "
                "`redis-retention policy set`"
            )
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def _require_formats(self) -> None:
        """See which formats there are, and that the server has what they need.

        Raises:
            ServerLacks: It has not.
        """
        lacking: ServerLacks | None = None
        for engine in self._served.engines:
            try:
                await self._transport.run(engine.check_server())
            except ServerLacks as error:
                lacking = lacking or error
                self._listener.routes.leave_out(engine)
        if lacking is not None and not self._served.auto:
            raise lacking
        if not self._served.auto:
            return
        met = await self._transport.run(meet(self._served))
        if lacking is not None and not met:
            raise lacking
        self._listener.meet(met)

    async def _serve(self) -> None:
        log.info("started", extra=fields(rules=len(self._rules.current)))
        working = [asyncio.create_task(self._listener.run())]
        if self._sweeper is not None:
            working.append(asyncio.create_task(self._sweep(self._sweeper)))
        watching = [
            asyncio.create_task(task())
            for task in (
                self._stop.wait,
                self._require_events,
                self._rules.follow,
                self._follow_completeness,
                self._summarize,
                self._tick,
            )
        ]
        try:
            await asyncio.wait({*working, *watching}, return_when=asyncio.FIRST_COMPLETED)
            await self._finish(working)
        finally:
            await _end_all([*working, *watching])
        self._say_goodbye()

    async def _sweep(self, sweeper: SharedSweeper) -> None:
        """Sweep, at first when events arrive: what is written meanwhile is not missed then."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._listener.settled(), _SETTLE_SECONDS)
        await sweeper.run()

    async def _finish(self, working: Sequence[asyncio.Task[None]]) -> None:
        """Let the calls in hand be finished."""
        self._listener.stop()
        if self._sweeper is not None:
            self._sweeper.stop()
        await asyncio.wait(working, timeout=_STOP_SECONDS)
        with suppress(asyncio.TimeoutError, RedisError, OSError):
            withdrawn = self._transport.run(self._completeness.withdraw())
            await asyncio.wait_for(withdrawn, _CLOSE_SECONDS)

    async def _require_events(self) -> None:
        """A listener alone is of no use where there are no events to begin with."""
        if await self._listener.settled() is State.OFF and self._sweeper is None:
            raise RetentionError(
                f"the server reports no events: {advice(self._listener.routes.events())}"
            )
        await self._stop.wait()

    def _say_goodbye(self) -> None:
        activity = self.activity
        log.info(
            "stopped",
            extra=fields(
                trims=activity.trims,
                checkpoints_deleted=activity.checkpoints_deleted,
                keys_deleted=activity.keys_deleted,
            ),
        )

    def _end(self, number: int) -> None:
        log.info("stopping: %s", signal.Signals(number).name)
        self._stop.set()

    def _ask_for_sweep(self, reason: str) -> None:
        if self._sweeper is not None:
            self._sweeper.ask(reason)
        else:
            log.info("events may have been missed (%s): `redis-retention sweep` heals that", reason)

    # --- whether the indexes are complete --------------------------------------------------

    def _doubt(self) -> None:
        if self._listener.state is State.LISTENING:
            self._completeness.doubt()
        else:
            self._completeness.stop_listening()
        self._completeness_due.set()

    def _note_proof(self, listened: Iterable[Engine]) -> None:
        self._completeness.listen(listened)
        self._completeness_due.set()

    async def _follow_completeness(self) -> None:
        """Say whether the indexes are complete, at each proof that events arrive and each doubt."""
        while True:
            await self._completeness_due.wait()
            self._completeness_due.clear()
            with suppress(RedisError, RetentionError, OSError):
                if self._listener.behind > _LONGEST_BACKLOG_SECONDS:
                    await self._transport.run(self._completeness.withdraw())
                elif not await self._transport.run(self._completeness.say()):
                    self._ask_for_sweep("a key of ours was deleted")

    # --- rules -----------------------------------------------------------------------------

    def _reload(self) -> None:
        log.info("reading the configuration again")
        try:
            options = self._reread()
        except Exception as error:
            # A slip in a file must not end a service that runs.
            log.error("kept the old configuration: %s", error)
            return
        self._listener.warn_above(options.warn_checkpoint_bytes)
        if self._sweeper is not None and options.schedule is not None:
            self._sweeper.reschedule(options.schedule)
        self._rules.follow_options(options)

    def _use_rules(self, rules: Sequence[Rule]) -> None:
        self._listener.rules = rules

    # --- reporting -------------------------------------------------------------------------

    async def _tick(self) -> None:
        while True:
            self._ticked = monotonic()
            await asyncio.sleep(1.0)

    async def _summarize(self) -> None:
        """One line a minute."""
        before: dict[str, int] = {}
        while True:
            await asyncio.sleep(SUMMARY_SECONDS)
            now = self.activity.counters()
            line = {name: count - before.get(name, 0) for name, count in now.items()}
            line |= {"waiting": self.waiting, "listening": self.activity.listening}
            log.info("last minute", extra=fields(**line))
            before = now


async def _end_all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel what still runs; what has failed by itself is raised."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
