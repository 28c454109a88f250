"""How a request reaches the server, the same for synchronous and asynchronous clients.

The engine is written as generators that yield requests and are sent the replies. How these are sent
is a generator as well: it yields calls of redis-py, and a transport makes them, once with ``await``
and once without. That is all in which the two differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import redis
import redis.asyncio
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention.scripts import Script

Argument: TypeAlias = bytes | str | int
Client: TypeAlias = "redis.Redis | redis.RedisCluster"
AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.RedisCluster"

T = TypeVar("T")

# A server that forgets its scripts again and again is failing over: give it a few chances.
_LOADS = 3


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
class Pause:
    """Time for others; the reply is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ahead:
    """A command that the server works on beside what follows; the reply is a ticket for `Arrival`.

    It is sent a second time if its connection breaks, so it must only read.
    """

    command: Command


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a command has brought that was sent ahead: its reply, and the seconds waited for it."""

    ticket: Any


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a cluster that hold keys; one ``None`` for a single server."""


Request: TypeAlias = Command | Call
_Other: TypeAlias = Pause | Ahead | Arrival
Steps: TypeAlias = Generator[Sequence[Request] | Nodes | _Other, Any, T]
"""Yields what is to be sent in one go, is sent the replies, returns a result."""

_Wanted = TypeVar("_Wanted")
_Yielded = TypeVar("_Yielded")


def ask(request: Request) -> Steps[Any]:
    """Send one request and return its reply."""
    replies = yield [request]
    return replies[0]


def command(*arguments: Argument, node: Any = None) -> Steps[Any]:
    """Send one command and return its reply."""
    return (yield from ask(Command(arguments, node)))


def driven(
    steps: Generator[_Wanted, Any, T], do: Callable[[_Wanted], Generator[_Yielded, Any, Any]]
) -> Generator[_Yielded, Any, T]:
    """Do what steps want, one thing after the other, and return their result.

    What the server refuses is thrown into the steps, and that it did not reply in time; whatever
    else goes wrong ends them.
    """
    try:
        wanted = next(steps)
        while True:
            try:
                came = yield from do(wanted)
            except (ResponseError, NoReplyError) as error:
                wanted = steps.throw(error)
            else:
                wanted = steps.send(came)
    except StopIteration as stop:
        result: T = stop.value
        return result


# Thread ids are bytes, whatever the client would make of them.
_AS_BYTES: dict[str, Any] = {NEVER_DECODE: True}

Doing: TypeAlias = Generator[Callable[[], Any], Any, T]
"""Yields calls of a client, is sent what came of each, or what awaiting it has brought."""

_CLUSTERS = (redis.RedisCluster, redis.asyncio.RedisCluster)

# What becomes of a connection that breaks, or that is not to be had.
_BROKEN = (NoConnectionError, NoReplyError)


def _raise_refusal(replies: Sequence[Any]) -> None:
    """Raise the first of the replies that is one."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A ticket: the connection on which the reply to a command comes."""

    connection: Any
    command: Command


class _Sender:
    """Sends what steps want; a subclass makes the calls that this yields."""

    _clock: ModuleType
    """Has ``sleep``."""

    def __init__(
        self, client: Client | AsyncClient, called: Callable[[str, float], None] | None = None
    ) -> None:
        # redis-py types neither commands by name nor a cluster's nodes.
        self._client: Any = client
        self._called = called

    def _run(self, steps: Steps[T]) -> Doing[T]:
        nodes = yield from self._nodes()
        under_way: list[_Sent] = []
        try:
            return (yield from driven(steps, partial(self._do, nodes, under_way)))
        finally:
            for sent in under_way:
                yield from self._give_back(sent.connection, broken=True)

    def _do(
        self, nodes: list[Any], under_way: list[_Sent], wanted: Sequence[Request] | Nodes | _Other
    ) -> Doing[Any]:
        if isinstance(wanted, Nodes):
            return nodes
        if isinstance(wanted, Pause):
            return (yield partial(self._clock.sleep, wanted.seconds))
        if isinstance(wanted, Ahead):
            return (yield from self._send_ahead(wanted.command, under_way))
        if isinstance(wanted, Arrival):
            begun = time.perf_counter()
            reply = yield from self._receive(wanted.ticket, under_way)
            _raise_refusal([reply])
            return reply, time.perf_counter() - begun
        return (yield from self._deliver(wanted, nodes))

    # --- what is sent ahead, on a connection of its own ------------------------------------------

    def _send_ahead(self, command: Command, under_way: list[_Sent]) -> Doing[_Sent | Command]:
        """Send a command, or answer it when that has to wait until its reply is asked for."""
        if self._has_one_connection():
            return command
        connection = None
        try:
            connection = yield self._client.connection_pool.get_connection
            yield partial(connection.send_command, *command.words())
        except _BROKEN:
            if connection is not None:
                yield from self._give_back(connection, broken=True)
            return command
        under_way.append(_Sent(connection, command))
        return under_way[-1]

    def _receive(self, ticket: _Sent | Command, under_way: list[_Sent]) -> Doing[Any]:
        if isinstance(ticket, Command):
            return (yield from self._send(ticket))
        under_way.remove(ticket)
        name, broken = ticket.command.arguments[0], True
        try:
            reply = yield partial(self._client.parse_response, ticket.connection, name, **_AS_BYTES)
            broken = False
            return reply
        except ResponseError as error:
            broken = False
            return error
        except _BROKEN:
            return (yield from self._send(ticket.command))
        finally:
            yield from self._give_back(ticket.connection, broken=broken)

    def _give_back(self, connection: Any, *, broken: bool) -> Doing[None]:
        if broken:
            yield connection.disconnect
        yield partial(self._client.connection_pool.release, connection)

    def _has_one_connection(self) -> bool:
        """Whether the client cannot send two commands side by side."""
        if isinstance(self._client, _CLUSTERS):
            return True
        alone: bool = self._client.connection is not None
        return alone or self._client.connection_pool.max_connections < 2

    # --- what is sent now ------------------------------------------------------------------------

    def _deliver(self, requests: Sequence[Request], nodes: list[Any]) -> Doing[list[Any]]:
        """Send requests until each has a reply, loading the scripts that the server has lost.

        EVALSHA of an unknown script does nothing, so only those calls are sent again.

        Raises:
            redis.exceptions.ResponseError: The server refused one of them. The others were sent.
        """
        replies = yield from self._send_all(list(requests))
        for _ in range(_LOADS):
            lost = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if not lost:
                break
            scripts = {call.script for at in lost if isinstance(call := requests[at], Call)}
            yield from self._send_all(
                [
                    Command(("SCRIPT", "LOAD", script.text), node)
                    for script in scripts
                    for node in nodes
                ]
            )
            again = yield from self._send_all([requests[at] for at in lost])
            for at, reply in zip(lost, again, strict=True):
                replies[at] = reply
        _raise_refusal(replies)
        return replies

    def _nodes(self) -> Doing[list[Any]]:
        if not isinstance(self._client, _CLUSTERS):
            return [None]
        if isinstance(self._client, redis.asyncio.RedisCluster):
            yield self._client.initialize
        return list(self._client.get_primaries())

    def _send(self, request: Request) -> Doing[Any]:
        begun = time.perf_counter()
        try:
            send = self._connection(request).execute_command
            reply = yield partial(send, *request.words(), **_AS_BYTES)
        except ResponseError as error:
            return error
        if self._called is not None and isinstance(request, Call):
            self._called(request.script.name, time.perf_counter() - begun)
        return reply

    def _connection(self, request: Request) -> Any:
        if request.node is None:
            return self._client
        if isinstance(self._client, redis.RedisCluster):
            return self._client.get_redis_connection(request.node)
        return request.node

    def _send_all(self, requests: list[Request]) -> Doing[list[Any]]:
        """Send requests in one go, and answer the reply or the refusal of each."""
        replies: list[Any] = []
        if len(requests) == 1 or isinstance(self._client, _CLUSTERS):
            for request in requests:
                replies.append((yield from self._send(request)))
            return replies
        pipeline = self._client.pipeline(transaction=False)
        for request in requests:
            pipeline.execute_command(*request.words(), **_AS_BYTES)
        replies = yield partial(pipeline.execute, raise_on_error=False)
        return replies


class Transport(_Sender):
    """Runs steps on a synchronous client.

    Args:
        client: The client.
        called: Is told of each call of a script by itself, and how many seconds the reply took.
    """

    _clock = time

    def run(self, steps: Steps[T]) -> T:
        """Run steps to their end and return their result."""
        doing = self._run(steps)
        try:
            act = next(doing)
            while True:
                try:
                    came = act()
                except BaseException as error:
                    act = doing.throw(error)
                else:
                    act = doing.send(came)
        except StopIteration as stop:
            result: T = stop.value
            return result


class AsyncTransport(_Sender):
    """Runs steps on an asynchronous client; like `Transport`, but for the ``await``."""

    _clock = asyncio

    async def run(self, steps: Steps[T]) -> T:
        """Run steps to their end and return their result."""
        doing = self._run(steps)
        try:
            act = next(doing)
            while True:
                try:
                    came = await act()
                except BaseException as error:
                    act = doing.throw(error)
                else:
                    act = doing.send(came)
        except StopIteration as stop:
            result: T = stop.value
            return result


async def reconnect(client: AsyncClient) -> None:
    """Let the next command of a client look up its server's address anew."""
    if isinstance(client, redis.asyncio.RedisCluster):
        await client.aclose()
    else:
        with suppress(redis.RedisError, OSError):
            await client.connection_pool.disconnect()
