"""What a process remembers of how much there was, and of what was trimmed; nothing is stored."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import takewhile
from time import monotonic
from typing import Any, Literal

from redis.exceptions import RedisClusterException, RedisError

from redis_retention.activity import Trim, in_layouts
from redis_retention.bodies import Body, text
from redis_retention.errors import RetentionError
from redis_retention.http.backend import Backend
from redis_retention.http.paths import encoded
from redis_retention.logs import logger
from redis_retention.results import TrimResult

log = logger("http")

SAMPLE_SECONDS = 10.0
"""How often to look how much there is."""

RECENT = 360
"""Samples that are remembered one by one: an hour."""

KEPT_SECONDS = 600.0
"""How far apart the samples are that are remembered for longer."""

KEPT = 7 * 144
"""How many these are: a week."""

TRIMS = 500
"""Trims that are remembered."""

# Counting is a pass over the database: no more than a hundredth of the time is spent on it.
_REST_PER_SECOND = 100.0


@dataclass(frozen=True, slots=True)
class _Sample:
    time: datetime
    memory: int
    checkpoints: int
    threads: int


def trim_of(source: Literal["sweep", "request"], thread: bytes | None, result: TrimResult) -> Trim:
    """A trim that was asked for, or a sweep, as it is counted."""
    deleted = result.checkpoints_deleted, result.keys_deleted, result.bytes_deleted or 0
    layouts = in_layouts(result.layouts)
    return Trim(source, thread, result.threads_trimmed, *deleted, layouts)


class History:
    """Remembers samples and trims, within a bound.

    Args:
        backend: Says how much there is.
        clock: Answers seconds; they only matter to each other.
        now: Answers what time it is.
    """

    def __init__(
        self,
        backend: Backend,
        clock: Callable[[], float] = monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._now = now
        self._recent: deque[_Sample] = deque(maxlen=RECENT)
        self._kept: deque[_Sample] = deque(maxlen=KEPT)
        self._trims: deque[tuple[datetime, Trim]] = deque(maxlen=TRIMS)
        self._counted = 0, 0
        self._sample_at = self._keep_at = self._count_at = clock()
        self._sampling = False

    def note(self, trim: Trim) -> None:
        """Remember what was deleted."""
        self._trims.append((self._now(), trim))

    async def follow(self) -> None:
        """Look again and again how much there is."""
        while True:
            await self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    async def sample(self) -> None:
        """Look how much there is, unless that was a moment ago."""
        if self._sampling or self._clock() < self._sample_at:
            return
        self._sampling = True
        try:
            await self._sample()
        except (RedisError, RedisClusterException, RetentionError, OSError) as error:
            log.debug("cannot look how much there is: %s", error)
        finally:
            self._sampling = False

    async def _sample(self) -> None:
        began = self._clock()
        # A timer may wake up a little early.
        self._sample_at = began + SAMPLE_SECONDS * 0.9
        memory = await self._backend.memory()
        if began >= self._count_at:
            counted = await self._backend.retention.stats(0)
            self._counted = counted.checkpoints, counted.threads
            ended = self._clock()
            self._count_at = ended + (ended - began) * _REST_PER_SECOND
        sample = _Sample(self._now(), memory, *self._counted)
        self._recent.append(sample)
        if began >= self._keep_at:
            self._keep_at = began + KEPT_SECONDS
            self._kept.append(sample)

    def body(self) -> Body:
        """All that is remembered, the oldest first, for programs."""
        begin = self._recent[0].time if self._recent else self._now()
        older = takewhile(lambda sample: sample.time < begin, self._kept)
        return {
            "samples": [_sample_body(sample) for sample in (*older, *self._recent)],
            "trims": [_trim_body(time, trim) for time, trim in self._trims],
        }


def _sample_body(sample: _Sample) -> dict[str, Any]:
    return {
        "time": sample.time.isoformat(timespec="milliseconds"),
        "memory": sample.memory,
        "checkpoints": sample.checkpoints,
        "threads": sample.threads,
    }


def _trim_body(time: datetime, trim: Trim) -> dict[str, Any]:
    return {
        "time": time.isoformat(timespec="milliseconds"),
        "thread": None if trim.thread is None else text(trim.thread),
        "encoded": None if trim.thread is None else encoded(trim.thread),
        "checkpoints": trim.checkpoints,
        "keys": trim.keys,
        "bytes": trim.bytes or None,
        "source": trim.source,
    }
