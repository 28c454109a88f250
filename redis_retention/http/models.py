"""What is answered, for OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Answered(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class LeftAlone(_Answered):
    """A thread that was not touched."""

    thread: str
    reason: str
    layout: str | None
    """In which storage format; null where that does not matter."""


class LayoutTrimmed(_Answered):
    """What was done in one storage format."""

    threads: int
    threads_trimmed: int
    checkpoints_deleted: int
    checkpoints_kept: int
    keys_deleted: int


class Trimmed(_Answered):
    """What a trim or a sweep did, or would do."""

    threads: int
    """Threads looked at."""
    threads_trimmed: int
    """Threads of which something was deleted."""
    checkpoints_deleted: int
    """Checkpoints deleted, in all namespaces."""
    checkpoints_kept: int
    """Checkpoints left in the threads looked at."""
    keys_deleted: int
    """All keys of the saver that are gone."""
    dry_run: bool
    """Nothing was deleted: the numbers say what would be."""
    elapsed_ms: float
    """How long it took, in milliseconds."""
    left_alone: list[LeftAlone]
    """Threads that were not touched, and why."""
    threads_refused: int
    """How many of these have failed."""
    layouts: dict[str, LayoutTrimmed]
    """What was done in each storage format in which there was something."""
    bytes_deleted: int | None
    """Memory that was freed, estimated; null where the server does not tell."""


class Progress(_Answered):
    """How far a sweep has come."""

    stage: str
    """What it is doing."""
    keys: int
    """Keys looked at in this stage, about."""
    total: int
    """Keys that there are."""


class Job(_Answered):
    """A sweep."""

    id: str
    status: Literal["running", "done", "failed", "cancelled"]
    progress: Progress | None
    """How far it has come; null before the first page of keys, and for a dry run."""
    result: Trimmed | None
    """What it did, when it is done."""
    error: str | None
    """Why it has failed."""
    started: datetime


class Jobs(_Answered):
    """The sweeps that were asked for, the newest first."""

    jobs: list[Job]


class ThreadSize(_Answered):
    """How large a thread is."""

    thread: str
    checkpoints: int
    bytes: int | None
    """Memory, estimated; null where the server does not tell."""
    layout: str | None
    """In which storage format; null in all of them."""


class LargeCheckpoint(_Answered):
    """A checkpoint that is larger than it should be, the newest of its thread."""

    thread: str
    checkpoint_id: str
    bytes: int
    layout: str
    """In which storage format."""


class LayoutSize(_Answered):
    """How much there is in one storage format."""

    threads: int
    checkpoints: int
    bytes: int | None


class Stats(_Answered):
    """How much there is, by the indexes."""

    threads: int
    checkpoints: int
    bytes: int | None
    """Memory of all checkpoints, estimated; null where the server does not tell."""
    bytes_sampled: int
    """Checkpoints that the estimate is based on."""
    largest: list[ThreadSize]
    large_checkpoints: int | None
    """Threads whose newest checkpoint is larger than was asked; null if nothing was asked."""
    largest_checkpoints: list[LargeCheckpoint]
    """The largest of these checkpoints, the largest first."""
    layouts: dict[str, LayoutSize]
    """How much there is in each storage format in which there is something."""


class ListedThread(ThreadSize):
    """A thread in a list."""

    encoded: str
    """The id as it goes into a path: percent-encoded byte for byte."""


class Sample(_Answered):
    """How much there was at one time."""

    time: datetime
    memory: int
    """Bytes that Redis used, of all data in it."""
    checkpoints: int
    """Checkpoints in the indexes, when they were last counted."""
    threads: int
    """Threads with an index, when they were last counted."""


class PastTrim(_Answered):
    """What a trim or a sweep has deleted."""

    time: datetime
    thread: str | None
    """The thread; null for a sweep."""
    encoded: str | None
    """The thread as it goes into a path: percent-encoded byte for byte."""
    checkpoints: int
    keys: int
    bytes: int | None
    """Memory, estimated; null where the server does not tell."""
    source: Literal["listener", "sweep", "request"]
    """What has trimmed: the listener, a sweep, or a request for one thread."""


class History(_Answered):
    """What this process remembers of the time since it started, the oldest first."""

    samples: list[Sample]
    trims: list[PastTrim]


class Threads(_Answered):
    """Some threads, the largest first."""

    threads: list[ListedThread]
    next: str | None
    """What to send as `cursor` for those that follow; null when there are none."""


class PlannedCheckpoint(_Answered):
    """A checkpoint, and what would become of it."""

    namespace: str
    checkpoint_id: str
    created: datetime | None
    age_seconds: float | None
    step: int | None
    source: str | None
    size: int | None
    """Bytes of memory, with its writes."""
    kept: bool
    reasons: list[str]
    """Why it is retained; empty when it is deleted."""
    keys: int
    """Keys that go with it."""
    layout: str
    """In which storage format it is."""


class Plan(_Answered):
    """What a trim would do to a thread."""

    thread: str
    checkpoints: list[PlannedCheckpoint]
    checkpoints_kept: int
    checkpoints_deleted: int
    keys_deleted: int
    bytes_deleted: int | None
    left_alone: str | None
    """Why the whole thread would be left alone."""
    layouts: list[str]
    """The storage formats in which it has checkpoints."""


class Rule(_Answered):
    """A stored policy; times in seconds."""

    pattern: str
    keep_last: int | None
    keep_within: float | None
    keep_runs: int | None
    expire_after: float | None
    expire_waiting: bool
    trigger: int | None
    layout: str | None
    """The only storage format for which it counts; null for all."""


class Rules(_Answered):
    """The stored policies, the most specific first."""

    policies: list[Rule]


class RemovedRule(_Answered):
    """What became of a stored policy."""

    pattern: str
    removed: bool
    """Whether there was one."""


class _Pinned(_Answered):
    namespace: str | None
    checkpoint_id: str | None
    note: str


class Pin(_Pinned):
    """Something that stays whatever the policy says; both are null for the whole thread."""

    layout: str | None
    """In which storage format; null for a thread in whatever format it is."""


class Pins(_Answered):
    """The pins of a thread."""

    thread: str
    pins: list[Pin]


class AllPins(_Answered):
    """The pins of all threads."""

    threads: list[Pins]


class Pinned(_Pinned):
    """A pin that was set."""

    thread: str
    pinned: bool


class Unpinned(_Answered):
    """What became of a pin."""

    thread: str
    namespace: str | None
    checkpoint_id: str | None
    unpinned: bool
    """Whether there was one."""


class Daemon(_Answered):
    """What a daemon does."""

    listening: bool
    """Whether events arrive."""
    waiting: int
    """Changed documents that have not been worked off."""
    sweeping: bool
    """Whether this process sweeps."""
    sweep_progress: float
    """How far it is, or the last sweep was, from 0 to 1."""
    last_sweep: datetime | None
    """When the last sweep of this process was done."""
    next_sweep: datetime | None
    """When the next one is due; null where none is planned, or that is not known now."""
    counters: dict[str, int]
    """What was done since the service started."""
    errors: dict[str, int]
    """What went wrong since then, by its kind."""


class Health(_Answered):
    """What the service does."""

    healthy: bool
    """Whether the process still does something."""
    ready: bool
    """Whether it can do its work: the server answers or, of a daemon, it is connected."""
    read_only: bool
    """Whether nothing may be changed."""
    daemon: Daemon | None
    """What the daemon does; null where there is none."""
