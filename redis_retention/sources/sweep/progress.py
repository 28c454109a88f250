"""What a sweep has done, how far it has come, and at what pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter

from redis_retention.engine import Engine
from redis_retention.results import TrimResult
from redis_retention.sans_io import Operation, Sleep

# A page or a call takes a millisecond or two. One that takes this long has waited for others.
_BUSY_SECONDS = 0.05
_REST_PER_SECOND_BUSY = 2.0
_LONGEST_REST_SECONDS = 2.0


@dataclass(slots=True)
class SweepResult(TrimResult):
    """What a sweep has done; the threads are those that have an index.

    Attributes:
        bytes_deleted: The memory that trims have freed, if the engine estimates it.
        keys_scanned: Keys of the database that were looked at.
        refused: Threads with which the server has refused something, and why.
        indexed: The formats of which the indexes know all that the sweep has met.
    """

    bytes_deleted: int = 0
    keys_scanned: int = 0
    refused: dict[bytes, str] = field(default_factory=dict)
    indexed: set[Engine] = field(default_factory=set, repr=False)


class Stage(Enum):
    """What a sweep is doing; all but the first are left out where they are not needed."""

    LOOKING = "looking"
    """All keys of the database are scanned."""
    TRIMMING = "trimming new threads"
    """The threads are trimmed that were met for the first time."""
    LOOKING_AGAIN = "looking again"
    """All keys are scanned once more."""
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
