"""The lease of a sweep: a key that one of several programs holds, as operations.

It is renewed between the requests of what is done under it, and expires by itself when its holder
dies. A string, ``{prefix}lease:sweep:{saver}``, with a token of the holder.
"""

from __future__ import annotations

from time import monotonic
from uuid import uuid4

from redis.lock import Lock

from redis_retention.engine import Engine
from redis_retention.errors import RetentionError
from redis_retention.sans_io import (
    Argument,
    Call,
    Operation,
    Requests,
    Sleep,
    T,
    command,
    drive,
    send,
)
from redis_retention.scripts import Script
from redis_retention.stopping import Stopped

LEASE_SECONDS = 30.0
_RENEWALS = 6

_RELEASE = Script.of("release", Lock.LUA_RELEASE_SCRIPT)
_RENEW = Script.of("renew", Lock.LUA_REACQUIRE_SCRIPT)


class LeaseTaken(RetentionError):
    """Somebody else holds it."""


class Lease:
    """The lease of the sweeps of one saver's threads."""

    def __init__(self, engine: Engine) -> None:
        self._key = f"{engine.prefix}lease:sweep:{engine.layout.tag}"
        self._token = uuid4().hex
        self._milliseconds = int(LEASE_SECONDS * 1000)
        self._renew_seconds = LEASE_SECONDS / _RENEWALS
        self._renewed = 0.0

    def take(self) -> Operation[bool]:
        """Take it, if it is free."""
        self._renewed = monotonic()
        taken = yield from command("SET", self._key, self._token, "NX", "PX", self._milliseconds)
        return bool(taken)

    def give_back(self) -> Operation[None]:
        """Let the next one have it. If that fails, it expires."""
        yield from send(Call(_RELEASE, [self._key], [self._token]))

    def keeping(self, operation: Operation[T]) -> Operation[T]:
        """The same operation, while it is renewed.

        Raises:
            Stopped: It was lost, since it was held up for longer than it lasts.
        """

        def pass_on(requests: Requests) -> Operation[object]:
            if isinstance(requests, Sleep):
                yield from self._sleep(requests.seconds)
                return None
            yield from self._renew()
            return (yield requests)

        try:
            return (yield from drive(operation, pass_on))
        finally:
            operation.close()

    def during(self, operation: Operation[T]) -> Operation[T]:
        """Take it, do something, give it back.

        Raises:
            LeaseTaken: Somebody else has it.
            Stopped: It was lost.
        """
        if not (yield from self.take()):
            raise LeaseTaken("somebody else is sweeping: try again when that is done")
        try:
            result = yield from self.keeping(operation)
        except GeneratorExit:
            # Nothing can be sent any more.
            raise
        except BaseException:
            yield from self.give_back()
            raise
        yield from self.give_back()
        return result

    def _renew(self) -> Operation[None]:
        now = monotonic()
        if now - self._renewed < self._renew_seconds:
            return
        arguments: list[Argument] = [self._token, self._milliseconds]
        if not (yield from send(Call(_RENEW, [self._key], arguments))):
            raise Stopped("the lease was lost")
        self._renewed = now

    def _sleep(self, seconds: float) -> Operation[None]:
        while seconds > 0:
            yield Sleep(min(seconds, self._renew_seconds))
            seconds -= self._renew_seconds
            yield from self._renew()
