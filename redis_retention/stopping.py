"""Steps that can be ended between two calls, so that what runs long can stop at once.

Each call of a script leaves its thread in order, so a good place to stop is after any of them.
"""

from __future__ import annotations

from collections.abc import Callable

from redis.exceptions import ResponseError

from redis_retention.transport import Steps, T


class Stopped(Exception):
    """The steps were ended before they were done."""


def stoppable(steps: Steps[T], stopped: Callable[[], bool]) -> Steps[T]:
    """The same steps, ended before the next request once `stopped` says so.

    Raises:
        Stopped: They were.
    """
    try:
        wanted = next(steps)
        while True:
            if stopped():
                steps.close()
                raise Stopped
            try:
                replies = yield wanted
            except ResponseError as error:
                wanted = steps.throw(error)
            else:
                wanted = steps.send(replies)
    except StopIteration as stop:
        result: T = stop.value
        return result
