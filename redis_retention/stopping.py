"""Operations that can be stopped between two requests, so that what runs long can end at once.

Each call of a script leaves its thread whole, so a good place to stop is after any of them.
"""

from __future__ import annotations

from collections.abc import Callable

from redis_retention.sans_io import Operation, Requests, T, drive


class Stopped(Exception):
    """The operation was stopped before it was done."""


def stoppable(operation: Operation[T], stopped: Callable[[], bool]) -> Operation[T]:
    """The same operation, stopped before the next request once `stopped` says so.

    Raises:
        Stopped: It was stopped.
    """

    def pass_on(requests: Requests) -> Operation[object]:
        if stopped():
            operation.close()
            raise Stopped
        return (yield requests)

    return drive(operation, pass_on)
