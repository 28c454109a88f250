"""Whether the server reports what happens to keys: its setting, and an event to prove it.

`notify-keyspace-events` is a set of letters. For the listener it must have ``K`` (a channel for
each key), those that the layout names (``d``: documents are of a module's type), ``g`` (deleted,
renamed) and ``x`` (expired).
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from redis.exceptions import ReadOnlyError, ResponseError

from redis_retention.errors import RetentionError
from redis_retention.layouts import Events
from redis_retention.sans_io import Command, Nodes, Operation, command, send
from redis_retention.transport import AsyncClient, AsyncTransport

if TYPE_CHECKING:
    from redis_retention.sources.subscription import Subscription

SETTING = "notify-keyspace-events"
# What the letter A stands for.
_ALL = "g$lshzxetd"

_ADVICE = f"""\
set {SETTING} to a value with the letters LETTERS:
  redis.conf        {SETTING} LETTERS
  Amazon            the parameter {SETTING} of the cache's parameter group
  Azure             Advanced settings (or --redis-configuration), {SETTING}
  Google            gcloud redis instances update NAME --update-redis-config {SETTING}=LETTERS
  Redis Cloud       Databases, Configuration, Advanced; or CONFIG SET by the default user"""

DEAF_SECONDS = 5.0
_GRACE_SECONDS = 0.5
_PUBLISHED = b"published"


@dataclass(frozen=True, slots=True)
class Switch:
    """What the server's setting is, after an attempt to complete it.

    Attributes:
        flags: The setting; None when it may not be read.
        added: Letters that were added.
        missing: Letters that are needed and could not be added.
        refusal: What the server said to that.
    """

    flags: str | None = None
    added: str = ""
    missing: str = ""
    refusal: str | None = None


def needed(events: Events) -> str:
    """The letters that the setting must have."""
    return f"K{events.letters}gx"


def advice(events: Events) -> str:
    """How to set it."""
    return _ADVICE.replace("LETTERS", needed(events))


def missing(flags: str, events: Events) -> str:
    """The letters that are needed beside those that are set."""
    known = flags + (_ALL if "A" in flags else "")
    return "".join(letter for letter in needed(events) if letter not in known)


def read_flags(node: Any = None) -> Operation[str]:
    """The setting as it is.

    Raises:
        redis.exceptions.ResponseError: It may not be read.
    """
    reply = yield from command("CONFIG GET", SETTING, node=node)
    [value] = reply.values() if isinstance(reply, dict) else reply[1::2]
    return value.decode() if isinstance(value, bytes) else str(value)


def switch_on(events: Events) -> Operation[Switch]:
    """Add to the setting what is missing, and take nothing away, on each node."""
    result = Switch()
    for node in (yield Nodes()):
        found = yield from _switch_on(node, events)
        if found.missing or found.flags is None:
            return found
        result = Switch(found.flags, result.added or found.added)
    return result


def _switch_on(node: Any, events: Events) -> Operation[Switch]:
    try:
        flags = yield from read_flags(node)
    except ResponseError as error:
        return Switch(refusal=str(error))
    lacking = missing(flags, events)
    if not lacking:
        return Switch(flags)
    try:
        yield from command("CONFIG SET", SETTING, flags + lacking, node=node)
    except ResponseError as error:
        return Switch(flags, missing=lacking, refusal=str(error))
    return Switch(flags + lacking, added=lacking)


class Heard(Enum):
    """What a probe has shown."""

    EVENTS = "events arrive"
    NO_EVENTS = "the server reports no events"
    NOTHING = "not even a published message arrives"
    UNPROVED = "subscribed; the user may not write the key that would prove events"


class Probe:
    """Makes an event on a key of our own, and waits until it is heard.

    A message is published on the same channel after it. Where that one arrives and the event
    does not, the connection is fine and the setting is not. A probe leaves no key behind.

    Args:
        prefix: What all keys of our own begin with.
        events: The events that are waited for.

    Attributes:
        trial: The command that makes the event, without the key.
    """

    def __init__(self, prefix: str, events: Events) -> None:
        self.trial = events.trial
        self.key = f"{prefix}probe:{secrets.token_hex(8)}"
        self._event = asyncio.Event()
        self._message = asyncio.Event()

    def hear(self, data: bytes) -> None:
        """Take in what has arrived on the channel of the key."""
        (self._message if data == _PUBLISHED else self._event).set()

    async def check(self, transport: AsyncTransport, channel: str) -> Heard:
        """Make the event on `channel`, and say what was heard of it."""
        self._event.clear()
        self._message.clear()
        provable = await transport.run(_permitted(self._make_event()))
        published = await transport.run(_permitted(send(Command(("PUBLISH", channel, _PUBLISHED)))))
        if published and not await _within(DEAF_SECONDS, self._message.wait):
            return Heard.NOTHING
        if not provable:
            return Heard.UNPROVED
        if await _within(_GRACE_SECONDS if published else DEAF_SECONDS, self._event.wait):
            return Heard.EVENTS
        return Heard.NO_EVENTS

    def _make_event(self) -> Operation[None]:
        name, *rest = self.trial
        yield [Command((name, self.key, *rest)), Command(("UNLINK", self.key))]


def _permitted(operation: Operation[Any]) -> Operation[bool]:
    try:
        yield from operation
    except ReadOnlyError:
        # A primary that was demoted: another connection may lead to the new one.
        raise
    except ResponseError:
        return False
    return True


async def _within(seconds: float, wait: Callable[[], Awaitable[Any]]) -> bool:
    try:
        await asyncio.wait_for(wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


@asynccontextmanager
async def opened(client: AsyncClient, on_gap: Callable[[str], None]) -> AsyncIterator[Subscription]:
    """A subscription, closed in the end.

    Raises:
        RetentionError: This redis-py has none.
    """
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
