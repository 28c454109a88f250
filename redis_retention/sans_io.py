"""The core without I/O: operations say what to send, and a transport sends it.

An operation is a generator. It yields requests, is sent the responses, and returns its result::

    def is_indexed(thread: bytes) -> Operation[bool]:
        return bool((yield from command("EXISTS", index_key(thread))))

    Transport(client).run(is_indexed(b"chat-7"))
    await AsyncTransport(client).run(is_indexed(b"chat-7"))

One operation calls another by ``yield from``. Everything from the engine to the sweep is written
in this way, once for synchronous and asynchronous clients; only `redis_retention.transport` knows
a client. If the server refuses a request or does not reply in time, the operation is thrown the
error at its ``yield``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention.scripts import Script

Argument: TypeAlias = bytes | str | int

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Command:
    """One Redis command; `node` says which node of a cluster gets it."""

    arguments: tuple[Argument, ...]
    node: Any = None

    def words(self) -> tuple[Argument, ...]:
        """The command as it is sent."""
        return self.arguments


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a script by EVALSHA."""

    script: Script
    keys: Sequence[Argument]
    arguments: Sequence[Argument] = field(repr=False)
    node: Any = None

    def words(self) -> tuple[Argument, ...]:
        """The command as it is sent."""
        return ("EVALSHA", self.script.sha, len(self.keys), *self.keys, *self.arguments)


@dataclass(frozen=True, slots=True)
class Timed:
    """Send one request, and others right after it in the same go.

    The response is the reply to the first, the seconds until all have come, and the replies to the
    others: a refusal of one of these is its reply.
    """

    request: Command | Call
    others: Sequence[Command] = ()


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait, so that the server can serve others; the response is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SendAhead:
    """Send a command and go on; the response is a pending reply for `Receive`.

    The command is sent again if its connection breaks, so it must only read.
    """

    command: Command


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for a pending reply; the response is the reply, and the seconds waited for it."""

    pending: Any


@dataclass(frozen=True, slots=True)
class Nodes:
    """List the primaries of a cluster; the response is ``[None]`` for a single server."""


Request: TypeAlias = Command | Call
Requests: TypeAlias = "Sequence[Request] | Timed | Sleep | SendAhead | Receive | Nodes"
"""What an operation yields; several requests in a sequence are sent in one go."""

Operation: TypeAlias = Generator[Requests, Any, T]
"""Yields requests, is sent the responses, returns a result."""

_Yielded = TypeVar("_Yielded")


def send(request: Request) -> Operation[Any]:
    """Send one request and return its reply."""
    replies = yield [request]
    return replies[0]


def command(*arguments: Argument, node: Any = None) -> Operation[Any]:
    """Send one command and return its reply."""
    return (yield from send(Command(arguments, node)))


def drive(
    operation: Operation[T], respond: Callable[[Requests], Generator[_Yielded, Any, Any]]
) -> Generator[_Yielded, Any, T]:
    """Respond to what an operation yields, and return its result.

    A refusal of the server and a missing reply are thrown into the operation; any other error
    ends it.
    """
    try:
        requests = next(operation)
        while True:
            try:
                response = yield from respond(requests)
            except (ResponseError, NoReplyError) as error:
                requests = operation.throw(error)
            else:
                requests = operation.send(response)
    except StopIteration as stop:
        result: T = stop.value
        return result
