"""Whether the indexes are known to be complete: a key that a service renews while it is sure.

``{prefix}complete:{saver}``  string  a token of the service that says so; expires by itself

There is one for each storage format.

A service is sure from the end of a sweep on that had begun when it was listening, until it may have
missed an event. Then an index knows all checkpoints of its thread but those that were put in the
last moments, and nothing else has to be asked for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar
from uuid import uuid4

from redis.exceptions import ResponseError
from redis.lock import Lock

from redis_retention.engine import Engine
from redis_retention.sans_io import Call, Operation, command, send
from redis_retention.scripts import Script

COMPLETE_SECONDS = 30.0


class _Swept(Protocol):
    indexed: set[Engine]


SweptT = TypeVar("SweptT", bound=_Swept)

_RELEASE = Script.of("release", Lock.LUA_RELEASE_SCRIPT)


def indexes_are_complete(engine: Engine) -> Operation[bool]:
    """Whether some service says that the indexes are complete."""
    try:
        return (yield from command("GET", _key(engine))) is not None
    except ResponseError:
        # Somebody else's key, or a user who may not read it.
        return False


def _key(engine: Engine) -> str:
    return f"{engine.prefix}complete:{engine.layout.tag}"


class Completeness:
    """What one service knows of the indexes of a format, and says of them.

    Several services may say it for one database, each only for itself.

    Args:
        engine: Says how our keys are called.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key = _key(engine)
        self._token = uuid4().hex
        self._listening = False
        # How often events may have been missed, and how often when the last sweep began that made
        # the indexes complete.
        self._doubts = 0
        self._doubts_when_swept: int | None = None
        self._said = False

    @property
    def certain(self) -> bool:
        """Whether the indexes are complete."""
        return self._listening and self._doubts_when_swept == self._doubts

    def listen(self) -> None:
        """Events of the format arrive: that was proved just now."""
        self._listening = True

    def doubt(self) -> None:
        """An event may have been missed, or a document could not be taken into its index."""
        self._doubts += 1

    def stop_listening(self) -> None:
        """Events do not arrive."""
        self._listening = False
        self.doubt()

    def during(self, sweep: Operation[SweptT]) -> Operation[SweptT]:
        """A sweep, after which the indexes are complete if no doubt comes up meanwhile."""
        begun = self._doubts if self._listening else None
        result = yield from sweep
        if self._engine in result.indexed:
            self._doubts_when_swept = begun
        return result

    def say(self) -> Operation[bool]:
        """Say for the next half minute that the indexes are complete, if that is certain.

        Returns:
            False if the key has gone before its time: others may have deleted indexes, too.
        """
        if not self.certain or (yield from _evicts()):
            yield from self.withdraw()
            return True
        again = ("XX",) if self._said else ()
        milliseconds = int(COMPLETE_SECONDS * 1000)
        reply = yield from command("SET", self._key, self._token, "PX", milliseconds, *again)
        self._said = reply is not None
        if not self._said:
            self.doubt()
        return self._said

    def withdraw(self) -> Operation[None]:
        """Say so no longer."""
        if self._said:
            yield from send(Call(_RELEASE, [self._key], [self._token]))
            self._said = False


class EachCompleteness:
    """What is said of the indexes of several formats; those with lists of their own have none.

    Args:
        engines: The engines of the formats.
    """

    def __init__(self, engines: Iterable[Engine]) -> None:
        self._each = {one: Completeness(one) for one in engines if not one.layout.lists_itself}

    def listen(self, engines: Iterable[Engine]) -> None:
        """Events of these formats arrive: that was proved just now."""
        for engine in engines:
            if engine in self._each:
                self._each[engine].listen()

    def doubt(self) -> None:
        """An event may have been missed, or a document could not be taken into its index."""
        for one in self._each.values():
            one.doubt()

    def stop_listening(self) -> None:
        """Events do not arrive."""
        for one in self._each.values():
            one.stop_listening()

    def during(self, sweep: Operation[SweptT]) -> Operation[SweptT]:
        """A sweep of all formats."""
        for one in self._each.values():
            sweep = one.during(sweep)
        return sweep

    def say(self) -> Operation[bool]:
        """Say of which formats it is certain; whether no key has gone before its time."""
        fine = True
        for one in self._each.values():
            fine = (yield from one.say()) and fine
        return fine

    def withdraw(self) -> Operation[None]:
        """Say so no longer."""
        for one in self._each.values():
            yield from one.withdraw()


def _evicts() -> Operation[bool]:
    """Whether the server may evict indexes when memory is full."""
    try:
        reply = yield from command("INFO", "memory")
    except ResponseError:
        return True
    if not isinstance(reply, dict):
        lines = bytes(reply).decode().splitlines()
        reply = dict(line.split(":", 1) for line in lines if ":" in line)
    policy, limit = str(reply.get("maxmemory_policy", "")), int(reply.get("maxmemory", 1))
    return limit > 0 and not policy.startswith(("noeviction", "volatile"))
