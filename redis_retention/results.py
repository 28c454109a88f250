"""What the operations of `Retention` answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from redis_retention.errors import Refusals
from redis_retention.sans_io import Operation
from redis_retention.sources.scan import ThreadResult


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A thread that was not touched, and why."""

    thread: str
    reason: str


@dataclass(frozen=True, slots=True)
class ScanProgress:
    """How far a scan of the whole database has come.

    Attributes:
        keys: Keys looked at, about.
        total: Keys that there are.
        why: Why that is necessary, None when it was asked for.
        mend: What would avoid it.
    """

    keys: int
    total: int
    why: str | None = None
    mend: str | None = None


@dataclass(slots=True)
class TrimResult:
    """What a trim did, or would do: as a look at the database before and after would count it.

    Attributes:
        threads: Threads looked at, whether they exist or not.
        threads_trimmed: Threads of which something was deleted.
        checkpoints_deleted: Checkpoint documents deleted, in all namespaces.
        checkpoints_kept: Checkpoint documents left in the threads looked at.
        keys_deleted: All keys of the saver that are gone, the documents with them.
        dry_run: Nothing was deleted, the numbers say what would be.
        elapsed_ms: How long it took, in milliseconds.
        left_alone: Threads that were not touched because something in them is not understood,
            because no stored policy matches them, or because something with them has failed.
        threads_refused: How many of these have failed.
        bytes_deleted: The memory that was freed, estimated; None where nobody has asked for it (see
            `Retention`), the server does not tell, or nothing was deleted.
    """

    threads: int = 0
    threads_trimmed: int = 0
    checkpoints_deleted: int = 0
    checkpoints_kept: int = 0
    keys_deleted: int = 0
    dry_run: bool = False
    elapsed_ms: float = 0.0
    left_alone: list[LeftAlone] = field(default_factory=list)
    threads_refused: int = 0
    bytes_deleted: int | None = None

    def add(self, thread: bytes, result: ThreadResult) -> None:
        """Count one thread's result in."""
        self.threads += 1
        self.threads_trimmed += result.deleted.keys > 0
        self.checkpoints_deleted += result.deleted.checkpoints
        self.checkpoints_kept += result.kept
        self.keys_deleted += result.deleted.keys
        if result.deleted.bytes:
            self.bytes_deleted = (self.bytes_deleted or 0) + result.deleted.bytes
        if result.left_alone is not None:
            self.leave_alone({thread: result.left_alone})

    def refuse(self, reasons: Mapping[bytes, str]) -> None:
        """Count in the threads with which something has failed."""
        self.threads_refused += len(reasons)
        self.leave_alone(reasons)

    def leave_alone(self, reasons: Mapping[bytes, str]) -> None:
        """Count in threads that were not touched."""
        self.left_alone += [
            LeftAlone(thread.decode("utf-8", "replace"), reason)
            for thread, reason in reasons.items()
        ]


class EachThread:
    """Counts the results of threads in, one after the other.

    Args:
        result: What they are counted into.
        only_one: There is one thread only: what fails with it is raised.
    """

    def __init__(self, result: TrimResult, *, only_one: bool = False) -> None:
        self.result = result
        self._only_one = only_one
        self._refusals = Refusals()

    def add(self, thread: bytes, operation: Operation[ThreadResult]) -> Operation[None]:
        """Run an operation on a thread; if it fails, the other threads are served all the same."""
        if not self._only_one:
            operation = self._refusals.attempt(thread, operation, ThreadResult())
        self.result.add(thread, (yield from operation))

    def finish(self) -> None:
        """Count in what has failed."""
        self.result.refuse(self._refusals.reasons)
