"""Whether events arrive: logged when that changes, and told to those whom it concerns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from enum import Enum

from redis_retention.activity import Activity
from redis_retention.layouts import Events
from redis_retention.logs import fields, logger
from redis_retention.sources.notifications import Switch, advice

log = logger("listener")


class State(Enum):
    """How the listener is."""

    STARTING = "starting"
    LISTENING = "listening"
    OFF = "the server reports no events"
    DISCONNECTED = "disconnected"


_GAPS = {
    State.STARTING: "the listener has started",
    State.DISCONNECTED: "the connection was lost",
    State.OFF: "notifications were off",
}


class Lost(Exception):
    """Events may have been lost."""


class Condition:
    """Whether events arrive.

    Args:
        activity: Where to count what is found out.
        on_gap: As for the listener.
        on_doubt: As for the listener.

    Attributes:
        state: How the listener is.
    """

    def __init__(
        self, activity: Activity, on_gap: Callable[[str], None], on_doubt: Callable[[], None]
    ) -> None:
        self.state = State.STARTING
        self._activity = activity
        self._on_gap = on_gap
        self._on_doubt = on_doubt
        self._settled = asyncio.Event()

    async def settled(self) -> State:
        """Wait until it is known whether events arrive, and say so."""
        await self._settled.wait()
        return self.state

    def disconnected(self, error: Exception) -> None:
        """The connection has failed."""
        if not isinstance(error, Lost):
            self._activity.failed(error)
        if self.state is not State.DISCONNECTED:
            log.warning("not connected: %s; trying again", error)
        self._enter(State.DISCONNECTED)

    def on(self, switch: Switch, channels: Iterable[str]) -> None:
        """Events arrive, by these channels."""
        before = self.state
        self._enter(State.LISTENING)
        if switch.added:
            log.info("switched on notifications", extra=fields(added=switch.added))
        if before is not State.LISTENING:
            log.info("ready: listening", extra=fields(channel=" ".join(sorted(channels))))
            self.note_gap(_GAPS[before])
        elif switch.added:
            log.warning("notifications had been switched off; switched on again")
            self.note_gap("notifications had been switched off")

    def off(self, switch: Switch, events: Events) -> None:
        """The connection works, and no event has arrived."""
        before = self.state
        self._enter(State.OFF)
        if before is State.OFF:
            return
        said = f" (the server says: {switch.refusal})" if switch.refusal else ""
        log.warning(
            "the server reports no events%s, so only sweeps trim; to change that, %s",
            said,
            advice(events),
        )

    def note_gap(self, reason: str) -> None:
        """Events may have been lost."""
        self._activity.gaps += 1
        self._on_doubt()
        self._on_gap(reason)

    def _enter(self, state: State) -> None:
        self.state = state
        if state is not State.LISTENING:
            self._on_doubt()
        self._activity.listening = state is State.LISTENING
        if state in (State.LISTENING, State.OFF):
            self._settled.set()
