"""How a request reaches the server, the same for synchronous and asynchronous clients.

The engine is written as generators that yield requests and are sent the replies. What is left
for a client to do is to send a list of commands: once with ``await``, once without.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
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

_Sending: TypeAlias = Generator["list[Request]", Any, list[Any]]


def ask(request: Request) -> Steps[Any]:
    """Send one request and return its reply."""
    replies = yield [request]
    return replies[0]


def command(*arguments: Argument, node: Any = None) -> Steps[Any]:
    """Send one command and return its reply."""
    return (yield from ask(Command(arguments, node)))


def _delivered(requests: Sequence[Request], nodes: list[Any]) -> _Sending:
    """Send requests until each has a reply, loading the scripts that the server has lost.

    EVALSHA of an unknown script does nothing, so only those calls are sent again.

    Raises:
        redis.exceptions.ResponseError: The server refused one of them. The others were sent.
    """
    replies: list[Any] = yield list(requests)
    for _ in range(_LOADS):
        lost = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if not lost:
            break
        scripts = {call.script for at in lost if isinstance(call := requests[at], Call)}
        yield [
            Command(("SCRIPT", "LOAD", script.text), node) for script in scripts for node in nodes
        ]
        again = yield [requests[at] for at in lost]
        for at, reply in zip(lost, again, strict=True):
            replies[at] = reply
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _arrived(arrival: Arrival) -> Generator[Arrival, Any, Any]:
    """Wait for what was sent ahead.

    Raises:
        redis.exceptions.ResponseError: The server refused it.
    """
    reply, seconds = yield arrival
    if isinstance(reply, Exception):
        raise reply
    return reply, seconds


def _exchange(steps: Steps[T], nodes: list[Any]) -> Generator[list[Request] | _Other, Any, T]:
    """Yields what to do now, is sent the raw replies, returns the result of the steps."""
    try:
        wanted = next(steps)
        while True:
            if isinstance(wanted, Nodes):
                wanted = steps.send(nodes)
                continue
            if isinstance(wanted, Pause | Ahead):
                wanted = steps.send((yield wanted))
                continue
            try:
                if isinstance(wanted, Arrival):
                    replies = yield from _arrived(wanted)
                else:
                    replies = yield from _delivered(wanted, nodes)
            except ResponseError as error:
                wanted = steps.throw(error)
            else:
                wanted = steps.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result


# Thread ids are bytes, whatever the client would make of them.
_AS_BYTES: dict[str, Any] = {NEVER_DECODE: True}


def _has_one_connection(client: Any) -> bool:
    """Whether a client cannot send two commands side by side."""
    if isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster):
        return True
    return client.connection is not None or client.connection_pool.max_connections < 2


@dataclass(frozen=True, slots=True, eq=False)
class _Sent:
    """A ticket: the connection on which the reply to a command comes."""

    connection: Any
    command: Command


# What becomes of a connection that breaks, or that is not to be had.
_BROKEN = (NoConnectionError, NoReplyError)


class Transport:
    """Runs steps on a synchronous client."""

    def __init__(self, client: Client) -> None:
        # redis-py types neither commands by name nor a cluster's nodes.
        self._client: Any = client

    def run(self, steps: Steps[T]) -> T:
        """Run steps to their end and return their result."""
        exchange = _exchange(steps, self._nodes())
        under_way: list[_Sent] = []
        try:
            wanted = next(exchange)
            while True:
                wanted = exchange.send(self._do(wanted, under_way))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            for sent in under_way:
                self._give_back(sent.connection, broken=True)

    def _do(self, wanted: list[Request] | _Other, under_way: list[_Sent]) -> Any:
        if isinstance(wanted, Pause):
            return time.sleep(wanted.seconds)
        if isinstance(wanted, Ahead):
            return self._send_ahead(wanted.command, under_way)
        if isinstance(wanted, Arrival):
            begun = time.perf_counter()
            return self._receive(wanted.ticket, under_way), time.perf_counter() - begun
        return self._send_all(wanted)

    def _send_ahead(self, command: Command, under_way: list[_Sent]) -> _Sent | Command:
        """Send a command, or answer it when that has to wait until its reply is asked for."""
        if _has_one_connection(self._client):
            return command
        connection = None
        try:
            connection = self._client.connection_pool.get_connection()
            connection.send_command(*command.words())
        except _BROKEN:
            if connection is not None:
                self._give_back(connection, broken=True)
            return command
        under_way.append(_Sent(connection, command))
        return under_way[-1]

    def _receive(self, ticket: _Sent | Command, under_way: list[_Sent]) -> Any:
        if isinstance(ticket, Command):
            return self._send(ticket)
        under_way.remove(ticket)
        name, broken = ticket.command.arguments[0], True
        try:
            reply = self._client.parse_response(ticket.connection, name, **_AS_BYTES)
            broken = False
            return reply
        except ResponseError as error:
            broken = False
            return error
        except _BROKEN:
            return self._send(ticket.command)
        finally:
            self._give_back(ticket.connection, broken=broken)

    def _give_back(self, connection: Any, *, broken: bool) -> None:
        if broken:
            connection.disconnect()
        self._client.connection_pool.release(connection)

    def _nodes(self) -> list[Any]:
        if isinstance(self._client, redis.RedisCluster):
            primaries: list[Any] = self._client.get_primaries()  # type: ignore[no-untyped-call]
            return primaries
        return [None]

    def _send(self, request: Request) -> Any:
        try:
            return self._connection(request).execute_command(*request.words(), **_AS_BYTES)
        except ResponseError as error:
            return error

    def _connection(self, request: Request) -> Any:
        if request.node is None:
            return self._client
        return self._client.get_redis_connection(request.node)

    def _send_all(self, requests: list[Request]) -> list[Any]:
        if len(requests) == 1 or isinstance(self._client, redis.RedisCluster):
            return [self._send(request) for request in requests]
        with self._client.pipeline(transaction=False) as pipeline:
            for request in requests:
                pipeline.execute_command(*request.words(), **_AS_BYTES)
            replies: list[Any] = pipeline.execute(raise_on_error=False)
            return replies


class AsyncTransport:
    """Runs steps on an asynchronous client.

    Args:
        client: The client.
        called: Is told of each call of a script by itself, and how many seconds the reply took.
    """

    def __init__(
        self, client: AsyncClient, called: Callable[[str, float], None] | None = None
    ) -> None:
        self._client: Any = client
        self._called = called

    async def run(self, steps: Steps[T]) -> T:
        """Run steps to their end and return their result."""
        exchange = _exchange(steps, await self._nodes())
        under_way: list[_Sent] = []
        try:
            wanted = next(exchange)
            while True:
                wanted = exchange.send(await self._do(wanted, under_way))
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            for sent in under_way:
                await self._give_back(sent.connection, broken=True)

    async def _do(self, wanted: list[Request] | _Other, under_way: list[_Sent]) -> Any:
        if isinstance(wanted, Pause):
            return await asyncio.sleep(wanted.seconds)
        if isinstance(wanted, Ahead):
            return await self._send_ahead(wanted.command, under_way)
        if isinstance(wanted, Arrival):
            begun = time.perf_counter()
            return await self._receive(wanted.ticket, under_way), time.perf_counter() - begun
        return await self._send_all(wanted)

    async def _send_ahead(self, command: Command, under_way: list[_Sent]) -> _Sent | Command:
        """Send a command, or answer it when that has to wait until its reply is asked for."""
        if _has_one_connection(self._client):
            return command
        connection = None
        try:
            connection = await self._client.connection_pool.get_connection()
            await connection.send_command(*command.words())
        except _BROKEN:
            if connection is not None:
                await self._give_back(connection, broken=True)
            return command
        under_way.append(_Sent(connection, command))
        return under_way[-1]

    async def _receive(self, ticket: _Sent | Command, under_way: list[_Sent]) -> Any:
        if isinstance(ticket, Command):
            return await self._send(ticket)
        under_way.remove(ticket)
        name, broken = ticket.command.arguments[0], True
        try:
            reply = await self._client.parse_response(ticket.connection, name, **_AS_BYTES)
            broken = False
            return reply
        except ResponseError as error:
            broken = False
            return error
        except _BROKEN:
            return await self._send(ticket.command)
        finally:
            await self._give_back(ticket.connection, broken=broken)

    async def _give_back(self, connection: Any, *, broken: bool) -> None:
        if broken:
            await connection.disconnect()
        await self._client.connection_pool.release(connection)

    async def _nodes(self) -> list[Any]:
        if isinstance(self._client, redis.asyncio.RedisCluster):
            await self._client.initialize()
            return list(self._client.get_primaries())
        return [None]

    async def _send(self, request: Request) -> Any:
        try:
            connection = self._client if request.node is None else request.node
            begun = time.perf_counter()
            reply = await connection.execute_command(*request.words(), **_AS_BYTES)
            if self._called is not None and isinstance(request, Call):
                self._called(request.script.name, time.perf_counter() - begun)
            return reply
        except ResponseError as error:
            return error

    async def _send_all(self, requests: list[Request]) -> list[Any]:
        if len(requests) == 1 or isinstance(self._client, redis.asyncio.RedisCluster):
            return [await self._send(request) for request in requests]
        async with self._client.pipeline(transaction=False) as pipeline:
            for request in requests:
                pipeline.execute_command(*request.words(), **_AS_BYTES)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies
