"""What a running service has done so far, for its summary line and its metrics."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import accumulate
from typing import Any, Literal

from redis_retention.results import LayoutResult

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Distribution:
    """How long something took, counted in classes as Prometheus does.

    Attributes:
        bounds: The upper end of each class, in seconds; one more class has none.
        counts: How often it fell into each.
        total: The sum of all, in seconds.
    """

    bounds: tuple[float, ...] = _SECONDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def cumulative(self) -> list[tuple[str, int]]:
        """For each bound the number of those that were not above it."""
        names = [*(str(bound) for bound in self.bounds), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


@dataclass(frozen=True, slots=True)
class Trim:
    """What a trim of a thread, or a sweep, has deleted.

    Attributes:
        source: What has trimmed: the listener, a sweep, or a request for one thread.
        thread: The thread as it stands in the keys, None for a sweep.
        threads: Threads of which something was deleted.
        checkpoints: Checkpoint documents.
        keys: All keys, the documents with them.
        bytes: The memory that they took, estimated; 0 where nobody has asked or knows.
        layouts: For each storage format its trims, checkpoints and keys.
    """

    source: Literal["listener", "sweep", "request"]
    thread: bytes | None
    threads: int
    checkpoints: int
    keys: int
    bytes: int
    layouts: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def in_layouts(results: Mapping[str, LayoutResult]) -> dict[str, tuple[int, int, int]]:
    """What was done in each storage format, as a `Trim` has it."""
    return {
        layout: (one.threads_trimmed, one.checkpoints_deleted, one.keys_deleted)
        for layout, one in results.items()
    }


def _metric(kind: str, text: str, default: float = 0) -> Any:
    """What a metric shows, with its text; `redis_retention.http.metrics` knows the kinds."""
    return field(default=default, metadata={kind: text})


@dataclass(slots=True)
class Activity:
    """What has been done since the service started.

    Attributes:
        errors: What went wrong, by the kind of error.
        lag: From the event to the reply of the call that has worked it off.
        scripts: One call of each script, by its name.
        sweeps: Sweeps by how they ended: ``done``, ``failed``, ``stopped``.
        watch: Is told of each trim.
        layouts: For each storage format trims, checkpoints and keys deleted.
    """

    events: int = _metric("counter", "Events of checkpoint documents that have arrived.")
    events_dropped: int = _metric("counter", "Events for which there was no room.")
    gaps: int = _metric("counter", "Times in which events may have been lost.")
    trims: int = _metric("of_layouts", "Trims of one thread.")
    checkpoints_deleted: int = _metric("of_layouts", "Checkpoint documents deleted.")
    keys_deleted: int = _metric("of_layouts", "Keys deleted, checkpoint documents with them.")
    bytes_deleted: int = _metric(
        "counter", "Memory that these took, estimated; 0 where MEMORY USAGE is not permitted."
    )
    index_entries_forgotten: int = _metric(
        "counter", "Index entries of checkpoints that others have deleted."
    )
    large_checkpoints: int = _metric(
        "counter", "New checkpoint documents above --warn-checkpoint-bytes."
    )
    listening: bool = _metric("gauge", "Whether events arrive.", False)
    threads: int = _metric("gauge", "Threads that the last sweep of this process has found.")
    checkpoints: int = _metric("gauge", "Checkpoints that it has left.")
    threads_refused: int = _metric(
        "gauge", "Threads with which something has failed in that sweep."
    )
    sweep_running: bool = _metric("gauge", "Whether this process is sweeping.", False)
    sweep_progress: float = _metric(
        "gauge", "How far the sweep is, or the last one was, from 0 to 1.", 0.0
    )
    sweep_seconds: float = _metric("gauge", "How long the last sweep of this process took.", 0.0)
    sweep_finished: float = _metric(
        "gauge", "When the last sweep of this process was done, in seconds since 1970.", 0.0
    )
    sweep_next: float = _metric(
        "gauge",
        "When the next sweep is due, in seconds since 1970; 0 while that is not known.",
        0.0,
    )
    errors: dict[str, int] = field(default_factory=dict)
    lag: Distribution = field(default_factory=Distribution)
    scripts: dict[str, Distribution] = field(default_factory=dict)
    sweeps: dict[str, int] = field(default_factory=dict)
    watch: Callable[[Trim], None] | None = None
    layouts: dict[str, list[int]] = field(default_factory=dict)

    def counters(self) -> dict[str, int]:
        """What a summary line counts."""
        return {
            "events": self.events,
            "dropped": self.events_dropped,
            "trims": self.trims,
            "checkpoints_deleted": self.checkpoints_deleted,
            "keys_deleted": self.keys_deleted,
            "sweeps": sum(self.sweeps.values()),
            "errors": sum(self.errors.values()),
        }

    def service(self, waiting: int) -> dict[str, Any]:
        """What a service does, for `/api/health`.

        Args:
            waiting: Changed documents that have not been worked off.
        """
        return {
            "listening": self.listening,
            "waiting": waiting,
            "sweeping": self.sweep_running,
            "sweep_progress": round(self.sweep_progress, 4),
            "last_sweep": _iso(self.sweep_finished),
            "next_sweep": _iso(self.sweep_next),
            "counters": {**self.counters(), "bytes_deleted": self.bytes_deleted},
            "errors": dict(self.errors),
        }

    def trimmed(self, trim: Trim) -> None:
        """Count what was deleted, and tell who watches."""
        self.trims += trim.threads
        self.checkpoints_deleted += trim.checkpoints
        self.keys_deleted += trim.keys
        self.bytes_deleted += trim.bytes
        for layout, tally in trim.layouts.items():
            before = self.layouts.get(layout, [0, 0, 0])
            self.layouts[layout] = [sum(pair) for pair in zip(before, tally, strict=True)]
        if self.watch is not None and trim.keys:
            self.watch(trim)

    def called(self, script: str, seconds: float) -> None:
        """Count one call of a script, and how long the reply took."""
        self.scripts.setdefault(script, Distribution()).add(seconds)

    def failed(self, error: BaseException) -> None:
        """Count an error by its kind."""
        kind = type(error).__name__
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def swept(self, outcome: str) -> None:
        """Count a sweep by how it ended."""
        self.sweeps[outcome] = self.sweeps.get(outcome, 0) + 1


def _iso(since_1970: float) -> str | None:
    """A moment in words; None when it is not known."""
    if not since_1970:
        return None
    return datetime.fromtimestamp(since_1970, timezone.utc).isoformat(timespec="seconds")
