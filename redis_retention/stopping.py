"""Steps that can be ended between two calls, so that what runs long can stop at once.

Each call of a script leaves its thread in order, so a good place to stop is after any of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis_retention.transport import Steps, T, driven


class Stopped(Exception):
    """The steps were ended before they were done."""


def stoppable(steps: Steps[T], stopped: Callable[[], bool]) -> Steps[T]:
    """The same steps, ended before the next request once `stopped` says so.

    Raises:
        Stopped: They were.
    """

    def pass_on(wanted: Any) -> Steps[Any]:
        if stopped():
            steps.close()
            raise Stopped
        return (yield wanted)

    return driven(steps, pass_on)
