"""Runs operations on the clients of redis-py.

`redis_retention.sans_io` says what an operation is. How its requests are sent is a generator as
well: it yields calls of redis-py, and a transport makes them, once with ``await`` and once without.
That is all in which the two differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import redis
import redis.asyncio
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention.sans_io import (
    Call,
    Command,
    Nodes,
    Operation,
    Receive,
    Request,
    Requests,
    SendAhead,
    Sleep,
    T,
    Timed,
    drive,
)

Client: TypeAlias = "redis.Redis | redis.RedisCluster"
AsyncClient: TypeAlias = "redis.asyncio.Redis | redis.asyncio.RedisCluster"

# A server that forgets its scripts again and again is failing over: give it a few chances.
_LOADS = 3

# Thread ids are bytes, whatever the client would make of them.
_AS_BYTES: dict[str, Any] = {NEVER_DECODE: True}

ClientCalls: TypeAlias = Generator[Callable[[], Any], Any, T]
"""Yields calls of a client, is sent what each returns (or its awaitable), returns a result."""

_CLUSTERS = (redis.RedisCluster, redis.asyncio.RedisCluster)

# A connection breaks, or there is none to be had.
_BROKEN = (NoConnectionError, NoReplyError)


def _raise_refusal(replies: Sequence[Any]) -> None:
    """Raise the first of the replies that is one."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A reply that is pending: the connection on which it will come."""

    connection: Any
    command: Command


class _Driver:
    """Drives operations; a subclass makes the calls of the client that this yields."""

    _clock: ModuleType
    """Has ``sleep``."""
    _now: Callable[[], float] = staticmethod(time.perf_counter)
    """Seconds, from any beginning."""

    def __init__(
        self, client: Client | AsyncClient, called: Callable[[str, float], None] | None = None
    ) -> None:
        # redis-py types neither commands by name nor a cluster's nodes.
        self._client: Any = client
        self._called = called
        # Seconds until the last reply came. Loading a script before it does not count.
        self._took = 0.0

    def _drive(self, operation: Operation[T]) -> ClientCalls[T]:
        nodes = yield from self._nodes()
        in_flight: list[_Pending] = []
        try:
            return (yield from drive(operation, partial(self._respond, nodes, in_flight)))
        finally:
            for pending in in_flight:
                yield from self._release(pending.connection, broken=True)

    def _respond(
        self, nodes: list[Any], in_flight: list[_Pending], requests: Requests
    ) -> ClientCalls[Any]:
        if isinstance(requests, Nodes):
            return nodes
        if isinstance(requests, Timed):
            sent = [requests.request, *requests.others]
            reply, *others = yield from self._send_loading(sent, nodes)
            _raise_refusal([reply])
            return reply, self._took, others
        if isinstance(requests, Sleep):
            return (yield partial(self._clock.sleep, requests.seconds))
        if isinstance(requests, SendAhead):
            return (yield from self._send_ahead(requests.command, in_flight))
        if isinstance(requests, Receive):
            begun = self._now()
            reply = yield from self._receive(requests.pending, in_flight)
            _raise_refusal([reply])
            return reply, self._now() - begun
        replies = yield from self._send_loading(requests, nodes)
        _raise_refusal(replies)
        return replies

    # --- commands sent ahead, each on a connection of its own ------------------------------------

    def _send_ahead(
        self, command: Command, in_flight: list[_Pending]
    ) -> ClientCalls[_Pending | Command]:
        """Send a command; return the command itself if it can only be sent when it is received."""
        if self._has_one_connection():
            return command
        connection = None
        try:
            connection = yield self._client.connection_pool.get_connection
            yield partial(connection.send_command, *command.words())
        except _BROKEN:
            if connection is not None:
                yield from self._release(connection, broken=True)
            return command
        in_flight.append(_Pending(connection, command))
        return in_flight[-1]

    def _receive(self, pending: _Pending | Command, in_flight: list[_Pending]) -> ClientCalls[Any]:
        if isinstance(pending, Command):
            return (yield from self._send(pending))
        in_flight.remove(pending)
        name, broken = pending.command.arguments[0], True
        try:
            reply = yield partial(
                self._client.parse_response, pending.connection, name, **_AS_BYTES
            )
            broken = False
            return reply
        except ResponseError as error:
            broken = False
            return error
        except _BROKEN:
            return (yield from self._send(pending.command))
        finally:
            yield from self._release(pending.connection, broken=broken)

    def _release(self, connection: Any, *, broken: bool) -> ClientCalls[None]:
        if broken:
            yield connection.disconnect
        yield partial(self._client.connection_pool.release, connection)

    def _has_one_connection(self) -> bool:
        """Whether the client cannot send two commands side by side."""
        return isinstance(self._client, _CLUSTERS) or has_one_connection(self._client)

    # --- requests ------------------------------------------------------------------------

    def _send_loading(
        self, requests: Sequence[Request], nodes: list[Any]
    ) -> ClientCalls[list[Any]]:
        """Send requests until each has a reply, loading scripts that the server does not know.

        EVALSHA of an unknown script does nothing, so only those calls are sent again.

        Returns:
            The reply to each of them, or its refusal.
        """
        replies = yield from self._send_all(list(requests))
        for _ in range(_LOADS):
            unknown = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if not unknown:
                break
            scripts = {call.script for at in unknown if isinstance(call := requests[at], Call)}
            yield from self._send_all(
                [
                    Command(("SCRIPT", "LOAD", script.text), node)
                    for script in scripts
                    for node in nodes
                ]
            )
            again = yield from self._send_all([requests[at] for at in unknown])
            for at, reply in zip(unknown, again, strict=True):
                replies[at] = reply
        return replies

    def _nodes(self) -> ClientCalls[list[Any]]:
        if not isinstance(self._client, _CLUSTERS):
            return [None]
        if isinstance(self._client, redis.asyncio.RedisCluster):
            yield self._client.initialize
        return list(self._client.get_primaries())

    def _send(self, request: Request) -> ClientCalls[Any]:
        begun = self._now()
        try:
            send = self._connection(request).execute_command
            reply = yield partial(send, *request.words(), **_AS_BYTES)
        except ResponseError as error:
            return error
        self._took = self._now() - begun
        if self._called is not None and isinstance(request, Call):
            self._called(request.script.name, self._took)
        return reply

    def _connection(self, request: Request) -> Any:
        if request.node is None:
            return self._client
        if isinstance(self._client, redis.RedisCluster):
            return self._client.get_redis_connection(request.node)
        return request.node

    def _send_all(self, requests: list[Request]) -> ClientCalls[list[Any]]:
        """Send requests in one go, and return the reply or the refusal of each."""
        replies: list[Any] = []
        if len(requests) == 1 or isinstance(self._client, _CLUSTERS):
            for request in requests:
                replies.append((yield from self._send(request)))
            return replies
        pipeline = self._client.pipeline(transaction=False)
        for request in requests:
            pipeline.execute_command(*request.words(), **_AS_BYTES)
        begun = self._now()
        replies = yield partial(pipeline.execute, raise_on_error=False)
        self._took = self._now() - begun
        return replies


class Transport(_Driver):
    """Runs operations on a synchronous client.

    Args:
        client: The client.
        called: Is notified of each call of a script by itself, and how many seconds it took.
    """

    _clock = time

    def run(self, operation: Operation[T]) -> T:
        """Run an operation to its end and return its result."""
        calls = self._drive(operation)
        try:
            call = next(calls)
            while True:
                try:
                    returned = call()
                except BaseException as error:
                    call = calls.throw(error)
                else:
                    call = calls.send(returned)
        except StopIteration as stop:
            result: T = stop.value
            return result


class AsyncTransport(_Driver):
    """Runs operations on an asynchronous client; like `Transport`, but for the ``await``."""

    _clock = asyncio

    async def run(self, operation: Operation[T]) -> T:
        """Run an operation to its end and return its result."""
        calls = self._drive(operation)
        try:
            call = next(calls)
            while True:
                try:
                    returned = await call()
                except BaseException as error:
                    call = calls.throw(error)
                else:
                    call = calls.send(returned)
        except StopIteration as stop:
            result: T = stop.value
            return result


def has_one_connection(client: Any) -> bool:
    """Whether a client of one server has but one connection."""
    single: bool = client.connection is not None
    return single or client.connection_pool.max_connections < 2


async def reconnect(client: AsyncClient) -> None:
    """Let the next command of a client look up its server's address anew."""
    if isinstance(client, redis.asyncio.RedisCluster):
        await client.aclose()
    else:
        with suppress(redis.RedisError, OSError):
            await client.connection_pool.disconnect()
