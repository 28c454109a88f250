"""Threads page by page, the largest first.

A page is found by a pass over the indexes that keeps no more than it shows, so that a cursor says
all: the size of the last thread, and its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any, Literal

from redis_retention import bodies
from redis_retention.bodies import Body
from redis_retention.http.paths import decoded, encoded
from redis_retention.http.problems import Problem
from redis_retention.operations.stats import ThreadSize
from redis_retention.retention import AsyncRetention

Sort = Literal["bytes", "checkpoints"]

MEASURED = 1_000
"""Threads that are measured to be sorted by bytes: those with the most checkpoints."""

_MEASURED_AGAIN_SECONDS = 60.0


class Sizes:
    """What threads took when they were measured: from page to page it stays the same."""

    def __init__(self) -> None:
        self._measured: dict[bytes, tuple[float, ThreadSize]] = {}

    async def of(
        self, retention: AsyncRetention, threads: Sequence[ThreadSize]
    ) -> list[ThreadSize]:
        """How large threads are, measured when they have grown, or that was a while ago."""
        now = monotonic()
        known = {
            one.thread: old
            for one in threads
            if (old := self._measured.get(one.thread)) is not None
            and old[1].checkpoints == one.checkpoints
            and now - old[0] < _MEASURED_AGAIN_SECONDS
        }
        wanted = [one.thread for one in threads if one.thread not in known]
        for size in await retention.measure(wanted):
            known[size.thread] = now, size
        self._measured = known
        return [size for _, size in known.values()]


class Threads:
    """Threads page by page.

    Args:
        retention: Says how large they are.
        sizes: What is remembered of that.
        match: A glob for their ids.
    """

    def __init__(self, retention: AsyncRetention, sizes: Sizes, match: bytes = b"*") -> None:
        self._retention = retention
        self._sizes = sizes
        self._match = match

    async def page(self, sort: Sort, limit: int, cursor: str | None) -> Body:
        """One page.

        Raises:
            Problem: The cursor is none.
            InvalidPolicy: The glob is none.
        """
        after = None if cursor is None else _read(cursor)
        if sort == "checkpoints":
            last = None if after is None else ThreadSize(after[1], after[0])
            found = await self._retention.largest(limit + 1, after=last, match=self._match)
            more = len(found) > limit
            # What is measured is what is shown.
            shown = await self._retention.measure([one.thread for one in found[:limit]])
            counts = {one.thread: one.checkpoints for one in found}
            places = [(counts[one.thread], one.thread) for one in shown]
        else:
            largest = await self._retention.largest(MEASURED, match=self._match)
            sizes = await self._sizes.of(self._retention, largest)
            ranked = sorted(sizes, key=_by_bytes, reverse=True)
            behind = [one for one in ranked if after is None or _by_bytes(one) < after]
            more, shown = len(behind) > limit, behind[:limit]
            places = [_by_bytes(one) for one in shown]
        return {
            "threads": [_listed(one) for one in shown],
            "next": _written(*places[-1]) if more else None,
        }


def _by_bytes(one: ThreadSize) -> tuple[int, bytes]:
    return one.bytes or 0, one.thread


def _listed(one: ThreadSize) -> dict[str, Any]:
    return {**bodies.of_size(one), "encoded": encoded(one.thread)}


def _written(size: int, thread: bytes) -> str:
    return f"{size}:{encoded(thread)}"


def _read(cursor: str) -> tuple[int, bytes]:
    size, parted, thread = cursor.partition(":")
    if not (parted and size.isascii() and size.isdigit()):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY, "the cursor is none: send what an answer has as `next`"
        )
    return int(size[:18]), decoded(thread)
