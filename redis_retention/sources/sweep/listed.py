"""The threads of a format that lists their checkpoints by itself: there is nothing to index."""

from __future__ import annotations

from collections.abc import Sequence

from redis_retention.batches import batched
from redis_retention.layouts import too_long_id
from redis_retention.policies import is_eligible
from redis_retention.sans_io import Operation
from redis_retention.sources.scan import listed_threads
from redis_retention.sources.sweep.shared import Shared

_THREADS_PER_BATCH = 250


class ListedThreads:
    """Works off threads when the sweep meets one of their lists."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._engine = shared.engine
        self._met: set[bytes] = set()

    def work_off(self, keys: Sequence[bytes]) -> Operation[None]:
        """Trim the threads whose lists are among the keys, where something may have to go."""
        new = listed_threads(self._engine, keys) - self._met
        self._met |= new
        for some in batched(filter(self._shared.wanted, sorted(new)), _THREADS_PER_BATCH):
            counts = yield from self._engine.counts(some)
            for thread, checkpoints in zip(some, counts, strict=True):
                if excess := too_long_id(thread):
                    self._shared.refuse(thread, excess)
                else:
                    yield from self._work_off(thread, checkpoints)

    def _work_off(self, thread: bytes, checkpoints: int) -> Operation[None]:
        rule, result = self._shared.rule(thread), self._shared.result
        may_be_stale = not checkpoints and self._engine.layout.lists_names
        if rule and (may_be_stale or is_eligible(checkpoints, rule)):
            checkpoints = (yield from self._shared.trim(thread, rule.policy, complete=True)).left
        result.threads += checkpoints > 0
        result.checkpoints_kept += checkpoints
