"""Counts and names new checkpoints that are large: one of them outweighs a thousand small ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from redis.exceptions import ResponseError

from redis_retention.activity import Activity
from redis_retention.layouts import Layout
from redis_retention.logs import fields, logger
from redis_retention.sans_io import Command, Operation

log = logger("large")

# A thread whose checkpoints are large writes one after the other.
_SAID_AGAIN_SECONDS = 600.0
_REMEMBERED_PLACES = 10_000


class LargeCheckpoints:
    """Measures checkpoint documents with MEMORY USAGE, while there is a threshold.

    Args:
        layout: What the documents are called.
        activity: Where to count them.
        clock: Answers seconds, since any point in time.

    Attributes:
        threshold: Bytes above which a document is large; None measures nothing.
    """

    def __init__(
        self, layout: Layout, activity: Activity, clock: Callable[[], float] = monotonic
    ) -> None:
        self._layout = layout
        self.threshold: int | None = None
        self._activity = activity
        self._clock = clock
        self._refused = False
        self._silent_until: dict[bytes, float] = {}

    def measure(self, documents: Sequence[bytes]) -> Operation[None]:
        """Measure documents that were just written, in one round trip; those that are gone are not.

        Args:
            documents: Their keys.
        """
        if self.threshold is None or self._refused or not documents:
            return
        try:
            # redis-py finds the node of a cluster by this name.
            sizes = yield [Command(("MEMORY USAGE", key)) for key in documents]
        except ResponseError as error:
            self._refused = True
            log.warning(
                "large checkpoints are not reported, the server refuses to measure them: %s", error
            )
            return
        for key, size in zip(documents, sizes, strict=True):
            if size is not None and size > self.threshold:
                self._activity.large_checkpoints += 1
                self._say(key, size)

    def _say(self, key: bytes, size: int) -> None:
        """Log one line for a thread and namespace, and no more for a while."""
        place, now = self._layout.split(key)[0], self._clock()
        if self._silent_until.get(place, now) > now:
            return
        if len(self._silent_until) >= _REMEMBERED_PLACES:
            self._silent_until.clear()
        self._silent_until[place] = now + _SAID_AGAIN_SECONDS
        log.warning("a large checkpoint", extra=fields(key=key, bytes=size))
