"""What the engine is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from redis_retention.policy import Policy
from redis_retention.sans_io import Argument

# What scripts call a checkpoint that they have read; of the second, some writes are registered
# nowhere (``lua/include/indexing.lua``).
CHECKPOINTS = frozenset({"checkpoint", "unregistered"})


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint is: its namespace (``b""`` is the root) and its id."""

    namespace: bytes
    checkpoint_id: bytes


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with threads of some name, while documents are tracked.

    Attributes:
        pattern: A glob for the thread id, as for Redis' KEYS.
        policy: What to keep of such a thread.
        trigger: Trim it when one of its namespaces has more checkpoints than this; None never.
        layout: What the only storage format is called for which it counts, None for all.
    """

    pattern: bytes
    policy: Policy
    trigger: int | None = None
    layout: str | None = None

    def arguments(self) -> list[Argument]:
        """The seven values that ``lua/track.lua`` reads."""
        trigger = -1 if self.trigger is None else self.trigger
        return [self.pattern, trigger, *self.policy.arguments()]


@dataclass(slots=True)
class Deleted:
    """What was deleted.

    Attributes:
        checkpoints: Checkpoint documents.
        keys: All keys of the saver, the documents with them.
        bytes: The memory that they took, estimated; 0 if that was not asked or is unknown.
    """

    checkpoints: int = 0
    keys: int = 0
    bytes: int = 0

    def add(self, checkpoints: int, keys: int, bytes: int = 0) -> None:
        """Count more of them."""
        self.checkpoints += checkpoints
        self.keys += keys
        self.bytes += bytes


@dataclass(slots=True)
class Trimmed:
    """What trimming one thread by its index has done.

    Attributes:
        deleted: What was deleted.
        left: Checkpoints that the index knows after it.
        keys_left: Keys of the root checkpoints among them, as far as documents were read and
            registries name writes; 0 if that was not asked.
        unsupported: The checkpoint because of which the thread was left alone.
        afterwards: The replies to what was sent right after it, empty if it took several calls.
    """

    deleted: Deleted = field(default_factory=Deleted)
    left: int = 0
    keys_left: int = 0
    unsupported: Place | None = None
    afterwards: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tracked:
    """A thread that was trimmed because it crossed its trigger.

    Attributes:
        thread: The thread as it stands in the keys.
        deleted: What was deleted.
        more: There is more to delete than one call may: `Engine.trim` goes on with it.
        unsupported: It was left alone.
        left: Checkpoints that its index knows after it.
        refused: Why the server has refused something with this thread, None if it has not.
    """

    thread: bytes
    deleted: Deleted
    more: bool = False
    unsupported: bool = False
    left: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What adding documents to the indexes has done.

    Attributes:
        statuses: What each of them is (``lua/include/indexing.lua``).
        refused: Threads whose index the server would not change, and why.
    """

    statuses: list[str]
    refused: dict[bytes, str]

    @property
    def checkpoints(self) -> int:
        """How many of them were checkpoints."""
        return sum(status in CHECKPOINTS for status in self.statuses)


@dataclass(slots=True)
class ThreadDocuments:
    """What reading the documents of a thread has found.

    Attributes:
        statuses: For each document key what it is (``lua/include/indexing.lua``).
        entries: The index entries; empty when they went into the index.
    """

    statuses: dict[bytes, str] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a trim would do to one checkpoint.

    Attributes:
        place: Which checkpoint.
        reasons: Why it is retained; empty when it is deleted.
        documents: Documents that deleting it would delete, 0 when it is retained.
        keys: Keys that deleting it would delete, the document with them.
        source: ``input``, ``loop``, ``update`` or ``fork``; this and what follows is None where the
            checkpoint does not say it, or it was not asked for.
        step: Its superstep.
        made_ms: Milliseconds since 1970 at which it was made.
        size: Bytes of memory of its document and writes.
    """

    place: Place
    reasons: tuple[str, ...]
    documents: int
    keys: int
    source: str | None = None
    step: int | None = None
    made_ms: int | None = None
    size: int | None = None


@dataclass(slots=True)
class Decisions:
    """What a trim would do to a whole thread.

    Attributes:
        checkpoints: One decision for each, oldest first in each namespace.
        unsupported: The checkpoint because of which the thread would be left alone.
    """

    checkpoints: list[Decision] = field(default_factory=list)
    unsupported: Place | None = None


@dataclass(frozen=True, slots=True)
class OrphanGroup:
    """Keys that bear one checkpoint's name and may be all that is left of it.

    Attributes:
        suffix: What the names of the keys have in common.
        writes: Write documents among them.
        deleted: The checkpoint was there and is deleted: whatever is left of it is deleted too.
    """

    suffix: bytes
    writes: Sequence[bytes] = ()
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """Which of some keys need something; all others are as they should be.

    Attributes:
        documents: Checkpoints that no index knows.
        orphans: Thread, suffix and perhaps a write document of what has no checkpoint.
        pointers: Thread and key of latest pointers to nothing.
        sharing: Threads without an index that have shared keys.
    """

    documents: list[bytes]
    orphans: list[list[bytes]]
    pointers: list[list[bytes]]
    sharing: list[bytes]


# Why a thread is left alone that has such a checkpoint.
UNSUPPORTED = "a checkpoint says something that this version does not understand"


def unsupported_reason(place: Place) -> str:
    """Why a thread is left alone that has this checkpoint."""
    shown = place.checkpoint_id.decode("utf-8", "replace")
    return UNSUPPORTED.replace("a checkpoint", f"checkpoint {shown}", 1)
