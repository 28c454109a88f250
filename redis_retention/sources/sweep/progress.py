"""What a sweep has done, how far it has come, and at what pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter

from redis_retention.sans_io import Operation, Sleep

# A page or a call takes a millisecond or two. One that takes this long has waited for others.
_BUSY_SECONDS = 0.05
_REST_PER_SECOND_BUSY = 2.0
_LONGEST_REST_SECONDS = 2.0


@dataclass(slots=True)
class SweepResult:
    """What a sweep has done.

    Attributes:
        threads: Threads that have an index.
        threads_trimmed: Threads of which something was deleted.
        checkpoints_deleted: Checkpoint documents deleted, in all namespaces.
        checkpoints_kept: Checkpoints left in those threads.
        keys_deleted: All keys of the saver that are gone, the documents with them.
        bytes_deleted: The memory that trims have freed, if the engine estimates it.
        keys_scanned: Keys of the database that were looked at.
        refused: Threads with which the server has refused something, and why.
        elapsed_ms: How long it took, in milliseconds.
        layouts: The same for each storage format in which there was something.
    """

    threads: int = 0
    threads_trimmed: int = 0
    checkpoints_deleted: int = 0
    checkpoints_kept: int = 0
    keys_deleted: int = 0
    bytes_deleted: int = 0
    keys_scanned: int = 0
    refused: dict[bytes, str] = field(default_factory=dict)
    elapsed_ms: float = 0.0
    layouts: dict[str, SweepResult] = field(default_factory=dict)

    def include(self, layout: str, part: SweepResult) -> None:
        """Count in what was done in one storage format."""
        self.threads += part.threads
        self.threads_trimmed += part.threads_trimmed
        self.checkpoints_deleted += part.checkpoints_deleted
        self.checkpoints_kept += part.checkpoints_kept
        self.keys_deleted += part.keys_deleted
        self.bytes_deleted += part.bytes_deleted
        self.keys_scanned += part.keys_scanned
        self.refused |= part.refused
        self.elapsed_ms += part.elapsed_ms
        if part.threads or part.keys_deleted or part.refused:
            self.layouts[layout] = part


class Stage(Enum):
    """What a sweep is doing; all but the first are left out where they are not needed."""

    LOOKING = "looking"
    """All keys of the database come by."""
    TRIMMING = "trimming new threads"
    """Threads are trimmed that have come by for the first time."""
    LOOKING_AGAIN = "looking again"
    """All keys come by once more."""
    SHARED_KEYS = "looking for shared keys"
    """So do those of threads in which shared keys may be left of checkpoints that are gone."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep has come: keys worked off in this stage, of about `total`."""

    keys: int
    total: int
    stage: Stage


class Pace:
    """Rests between two pages or threads, so that others are served.

    Args:
        max_keys_per_second: Look at no more keys than this.
        progress: Is notified how far the sweep has come.
    """

    def __init__(
        self, max_keys_per_second: int | None, progress: Callable[[Progress], None] | None
    ) -> None:
        self._max_keys_per_second = max_keys_per_second
        self._progress = progress
        self._begun = perf_counter()

    def begin(self) -> None:
        """Begin a stage."""
        self._begun = perf_counter()

    def tell(self, progress: Progress) -> None:
        """Tell the progress."""
        if self._progress is not None:
            self._progress(progress)

    def rest(self, took: float, progress: Progress) -> Operation[None]:
        """Tell the progress, and rest if the server is busy or the sweep too fast.

        Args:
            took: Seconds that the last page or call took.
            progress: How far the stage has come.
        """
        self.tell(progress)
        seconds = 0.0
        if took > _BUSY_SECONDS:
            seconds = min(took * _REST_PER_SECOND_BUSY, _LONGEST_REST_SECONDS)
        if self._max_keys_per_second is not None:
            elapsed = perf_counter() - self._begun
            seconds = max(seconds, progress.keys / self._max_keys_per_second - elapsed)
        if seconds > 0:
            yield Sleep(seconds)
