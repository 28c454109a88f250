"""What the operations of `Retention` answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from redis_retention.engine import Deleted, Engine
from redis_retention.errors import Refusals
from redis_retention.layouts.names import title
from redis_retention.sans_io import Operation


@dataclass(slots=True)
class ThreadResult:
    """What was done to one thread, or would be.

    Attributes:
        deleted: What was deleted.
        left: Checkpoint documents left.
        left_alone: Why nothing was done, None when something could be.
    """

    deleted: Deleted = field(default_factory=Deleted)
    left: int = 0
    left_alone: str | None = None


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A thread that was not touched, and why.

    Attributes:
        thread: The thread.
        reason: Why.
        layout: In which storage format, None where that does not matter.
    """

    thread: str
    reason: str
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class LayoutResult:
    """What a trim did in one storage format; see `TrimResult`."""

    threads: int
    threads_trimmed: int
    checkpoints_deleted: int
    checkpoints_kept: int
    keys_deleted: int


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
        keys_deleted: All keys of the saver that are gone, the documents with them. Of formats that
            list their checkpoints these are the checkpoints, whether they are keys or members.
        dry_run: Nothing was deleted, the numbers say what would be.
        elapsed_ms: How long it took, in milliseconds.
        left_alone: Threads that were not touched because something in them is not understood,
            because no stored policy matches them, or because something with them has failed.
        threads_refused: How many of these have failed.
        bytes_deleted: The memory that was freed, estimated; None where nobody has asked for it (see
            `Retention`), the server does not tell, or nothing was deleted.
        layouts: The same for each storage format in which there was something.
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
    layouts: dict[str, LayoutResult] = field(default_factory=dict)

    def add(self, thread: bytes, result: ThreadResult) -> None:
        """Count one thread's result in."""
        self.threads += 1
        self.threads_trimmed += result.deleted.keys > 0
        self.checkpoints_kept += result.left
        self.count(result.deleted)
        if result.left_alone is not None:
            self.leave_alone({thread: result.left_alone})

    def count(self, deleted: Deleted) -> None:
        """Count in what was deleted."""
        self.checkpoints_deleted += deleted.checkpoints
        self.keys_deleted += deleted.keys
        if deleted.bytes:
            self.bytes_deleted = (self.bytes_deleted or 0) + deleted.bytes

    def refuse(self, reasons: Mapping[bytes, str]) -> None:
        """Count in the threads with which something has failed."""
        self.threads_refused += len(reasons)
        self.leave_alone(reasons)

    def include(self, layout: str, part: TrimResult, threads: int) -> None:
        """Count in what was done in one storage format, but for threads, which may be in several.

        Args:
            layout: What the format is called.
            part: What was done.
            threads: In how many threads there was something.
        """
        self.checkpoints_deleted += part.checkpoints_deleted
        self.checkpoints_kept += part.checkpoints_kept
        self.keys_deleted += part.keys_deleted
        if part.bytes_deleted:
            self.bytes_deleted = (self.bytes_deleted or 0) + part.bytes_deleted
        self.threads_refused += part.threads_refused
        self.left_alone += [replace(left, layout=layout) for left in part.left_alone]
        if threads or part.keys_deleted or part.left_alone:
            self.layouts[layout] = LayoutResult(
                threads,
                part.threads_trimmed,
                part.checkpoints_deleted,
                part.checkpoints_kept,
                part.keys_deleted,
            )

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

    Attributes:
        trimmed: The threads of which something was deleted.
        threads: In how many there was something.
    """

    def __init__(self, result: TrimResult, *, only_one: bool = False) -> None:
        self.result = result
        self.trimmed: set[bytes] = set()
        self.threads = 0
        self._only_one = only_one
        self._refusals = Refusals()

    def add(self, thread: bytes, operation: Operation[ThreadResult]) -> Operation[None]:
        """Run an operation on a thread; if it fails, the other threads are served all the same."""
        if not self._only_one:
            operation = self._refusals.attempt(thread, operation, ThreadResult())
        done = yield from operation
        if done.deleted.keys:
            self.trimmed.add(thread)
        self.threads += bool(done.left or done.deleted.keys)
        self.result.add(thread, done)

    def add_keys(self, thread: bytes, deleted: Deleted) -> None:
        """Count in further keys that were deleted of a thread that has been added."""
        if not deleted.keys:
            return
        if thread not in self.trimmed:
            self.trimmed.add(thread)
            self.result.threads_trimmed += 1
        self.result.count(deleted)

    def finish(self) -> None:
        """Count in what has failed."""
        self.result.refuse(self._refusals.reasons)


def total(each: Mapping[Engine, EachThread], *, dry_run: bool) -> TrimResult:
    """What was done in all formats, but for how many threads."""
    result = TrimResult(dry_run=dry_run)
    for engine, one in each.items():
        one.finish()
        result.include(title(engine.layout), one.result, one.threads)
    return result
