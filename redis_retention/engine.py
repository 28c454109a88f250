"""The engine: what can be done to one thread, as operations that any client can run.

It knows the scripts and what they answer. It does not know where keys come from.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention.layouts import LangGraphRedis, Layout
from redis_retention.policy import Policy
from redis_retention.sans_io import (
    Argument,
    Call,
    Operation,
    command,
    send,
)
from redis_retention.scripts import Script, load

T = TypeVar("T")

# What scripts call a checkpoint that they have read; of the second, some writes are registered
# nowhere (``lua/include/indexing.lua``).
CHECKPOINTS = frozenset({"checkpoint", "unregistered"})

DEFAULT_PREFIX = "retention:"
DEFAULT_KEYS_PER_CALL = 200
SMALLEST_KEYS_PER_CALL = 10
# Some of them are handed on as arguments, of which Lua takes less than 8,000.
LARGEST_KEYS_PER_CALL = 5_000
# An hour, and the largest difference of clocks (``lua/include/clock.lua``) beside it.
LEFTOVER_AGE_MS = 7_200_000
DEFAULT_GRACE_MS = 60_000
# Digits of the time at the end of a leaf's entry (``lua/include/entry.lua``).
_LEAF_TIME = 13

# Documents read by one call: some 20 microseconds each, more when they are cold.
DOCUMENTS_PER_CALL = 50
# Documents noted by one call by their names: some 12 microseconds each, if they are proved.
NAMES_PER_CALL = 80
_PAGE = 500
_DESCRIBED_PAGE = 100
# Entries read by one call, about a microsecond each.
_ENTRIES_PER_CALL = 1_500


class RetentionError(Exception):
    """Something stands in the way; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a checkpoint is: its namespace (``b""`` is the root) and its id."""

    namespace: bytes
    checkpoint_id: bytes


@dataclass(slots=True)
class Tally:
    """What was deleted.

    Attributes:
        checkpoints: Checkpoint documents.
        keys: All keys of the saver, the documents with them.
        bytes: The memory that they took, estimated; 0 where nobody has asked or knows.
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
        unjudged: The checkpoint because of which the thread was left alone.
    """

    deleted: Tally = field(default_factory=Tally)
    left: int = 0
    keys_left: int = 0
    unjudged: Place | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a checkpoint says of itself; None where it does not.

    Attributes:
        source: ``input``, ``loop``, ``update`` or ``fork``.
        step: Its superstep.
        made_ms: Milliseconds since 1970 at which it was made.
        size: Bytes of memory of its document and writes.
    """

    source: str | None
    step: int | None
    made_ms: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a trim would do to one checkpoint.

    Attributes:
        place: Which checkpoint.
        reasons: Why it stays; empty when it goes.
        documents: Documents that deleting it would delete, 0 when it stays.
        keys: Keys that deleting it would delete, the document with them.
        description: What it says of itself, when that was asked for.
    """

    place: Place
    reasons: tuple[str, ...]
    documents: int
    keys: int
    description: Description | None = None


@dataclass(slots=True)
class Judged:
    """A whole thread, judged.

    Attributes:
        verdicts: One for each checkpoint, oldest first in each namespace.
        unjudged: The checkpoint because of which the thread would be left alone.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    unjudged: Place | None = None


@dataclass(slots=True)
class Entries:
    """What reading the documents of a thread has found.

    Attributes:
        statuses: For each document key what it is (``lua/include/indexing.lua``).
        members: The index entries; empty when they went into the index.
    """

    statuses: dict[bytes, str] = field(default_factory=dict)
    members: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Remains:
    """Keys that bear one checkpoint's name and may be all that is left of it.

    Attributes:
        suffix: What the keys have in common, ``:thread:namespace:id``.
        writes: Write documents among them.
        gone: The checkpoint was there, and is given up: whatever is left of it goes.
    """

    suffix: bytes
    writes: Sequence[bytes] = ()
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What keys of the saver turned out to be, those that are in order left out.

    Attributes:
        documents: Checkpoints that no index knows.
        remains: Thread, suffix and perhaps a write document of what has no checkpoint.
        pointers: Thread and key of pointers to nothing.
    """

    documents: list[bytes]
    remains: list[list[bytes]]
    pointers: list[list[bytes]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What to do with threads of some name, while documents are tracked.

    Attributes:
        pattern: A glob for the thread id, as for Redis' KEYS.
        policy: What to keep of such a thread.
        trigger: Trim it when one of its namespaces has more checkpoints than this; None never.
    """

    pattern: bytes
    policy: Policy
    trigger: int | None = None

    def arguments(self) -> list[Argument]:
        """The seven values that ``lua/track.lua`` reads."""
        trigger = -1 if self.trigger is None else self.trigger
        return [self.pattern, trigger, *self.policy.arguments()]


@dataclass(frozen=True, slots=True)
class Tracked:
    """A thread that was trimmed because it crossed its trigger.

    Attributes:
        thread: The thread as it stands in the keys.
        deleted: What was deleted.
        more: There is more to delete than one call may: `Engine.trim` goes on with it.
        unjudged: It was left alone.
        left: Checkpoints that its index knows after it.
        refused: What the server has refused with this thread, None if nothing.
    """

    thread: bytes
    deleted: Tally
    more: bool
    unjudged: bool
    left: int
    refused: str | None = None


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def outline(members: Iterable[bytes], gone: Collection[Place]) -> list[bytes]:
    """The newest entry of each namespace, without the checkpoints that are gone.

    Args:
        members: Index entries in the order of bytes (``lua/include/entry.lua``).
        gone: Checkpoints to leave out.
    """
    newest: dict[bytes, bytes] = {}
    for member in members:
        if member[:1] not in (b"s", b"t"):
            continue
        namespace, checkpoint_id = member[1:].split(b"\0")[:2]
        if Place(namespace, checkpoint_id) not in gone:
            newest[member[:1] + namespace] = member
    return list(newest.values())


def _is_checkpoint(member: bytes) -> bool:
    """Whether an index entry is a checkpoint's, and not what a stranger has put there."""
    return member[:1] in (b"s", b"t") and b"\0" in member


def is_script_error(error: Exception) -> bool:
    """Whether a script could make nothing of what it read."""
    return isinstance(error, ResponseError) and "user_script" in str(error)


# What the server refuses whatever the thread: the last ones have no class of their own in redis-py.
_REFUSES_ALL = (
    ReadOnlyError,
    OutOfMemoryError,
    NoPermissionError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
)
_REFUSES_ALL_CODES = ("MISCONF", "NOREPLICAS", "BUSY ", "UNKILLABLE")


def is_of_one_thread(error: Exception) -> bool:
    """Whether an error may be the fault of the thread that was asked for, and of no other."""
    if isinstance(error, _REFUSES_ALL) or str(error).startswith(_REFUSES_ALL_CODES):
        return False
    return isinstance(error, ResponseError | NoReplyError | RetentionError)


def _leaf_name(member: bytes) -> bytes:
    """What a checkpoint's entry as a leaf begins with, from its own."""
    namespace, checkpoint_id = member[1:].split(b"\0", 2)[:2]
    return b"l" + namespace + b"\0" + checkpoint_id + b"\0"


def reason_left_alone(place: Place) -> str:
    """Why a thread is left alone in which a checkpoint cannot be judged."""
    shown = place.checkpoint_id.decode("utf-8", "replace")
    return f"checkpoint {shown} says something that this version cannot judge"


# Calls in a row to which there was no reply in time: then it is not the threads' fault.
_MOST_SILENCES = 5


class Refusals:
    """What went wrong with single threads, while the others are worked off.

    Attributes:
        reasons: For each thread why it is left alone.
    """

    def __init__(self, most: int = 1_000) -> None:
        self.reasons: dict[bytes, str] = {}
        self._most = most
        self._silences = 0

    def add(self, thread: bytes, reason: str) -> None:
        """Note why a thread is left alone, while there is room."""
        if len(self.reasons) < self._most:
            self.reasons[thread] = reason

    def tried(self, thread: bytes, operation: Operation[T], otherwise: T) -> Operation[T]:
        """Do something with a thread; if that fails, note why and answer `otherwise`.

        Raises:
            redis.exceptions.RedisError: It is not the thread's fault.
        """
        try:
            result = yield from operation
        except (ResponseError, NoReplyError, RetentionError) as error:
            self._silences = self._silences + 1 if isinstance(error, NoReplyError) else 0
            if not is_of_one_thread(error) or self._silences >= _MOST_SILENCES:
                raise
            self.add(thread, str(error))
            return otherwise
        self._silences = 0
        return result


@dataclass(frozen=True, slots=True)
class Taken:
    """What taking documents into their indexes has done.

    Attributes:
        statuses: What each of them is (``lua/include/indexing.lua``).
        refused: Threads whose index the server would not change, and what it says.
    """

    statuses: list[str]
    refused: dict[bytes, str]

    @property
    def checkpoints(self) -> int:
        """How many of them were checkpoints."""
        return sum(status in CHECKPOINTS for status in self.statuses)


class Engine:
    """Index, trim, plan and clean threads of one saver.

    Args:
        layout: The saver's storage format.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call of a script may delete. A server does nothing else
            meanwhile; a key takes some 5 microseconds.
        weigh: Estimate the memory that trims free.
        grace_ms: Milliseconds for which a checkpoint stays that no other has as its parent: it may
            be about to become the latest one. Also how long a thread must have been known to be
            idle before it expires.

    Raises:
        ValueError: `keys_per_call` is not from 10 to 5,000, `grace_ms` is negative, or `prefix` is
            empty.
    """

    def __init__(
        self,
        layout: Layout | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        weigh: bool = False,
        grace_ms: int = DEFAULT_GRACE_MS,
    ) -> None:
        if not SMALLEST_KEYS_PER_CALL <= keys_per_call <= LARGEST_KEYS_PER_CALL:
            raise ValueError(
                f"keys_per_call must be from {SMALLEST_KEYS_PER_CALL} to {LARGEST_KEYS_PER_CALL}"
            )
        if grace_ms < 0:
            raise ValueError("grace_ms must not be negative")
        if not prefix:
            raise ValueError("prefix must not be empty: it keeps our keys apart from all others")
        self.layout: Layout = layout or LangGraphRedis()
        self.keys_per_call = keys_per_call
        self.grace_ms = grace_ms
        self._weigh = weigh
        self._prefix = prefix
        self._index_start = f"{prefix}index:{self.layout.tag}:".encode()
        self._pins_start = f"{prefix}pins:{self.layout.tag}:".encode()

    @property
    def prefix(self) -> str:
        """What all keys of our own begin with."""
        return self._prefix

    def index_key(self, thread: bytes) -> bytes:
        """The sorted set that is a thread's index."""
        return self._index_start + thread

    def pins_key(self, thread: bytes) -> bytes:
        """The hash that holds a thread's pins."""
        return self._pins_start + thread

    def check_server(self) -> Operation[None]:
        """Make sure that the server can read the saver's documents.

        Raises:
            RetentionError: It lacks what these need.
        """
        required = self.layout.requirement
        if required is None:
            return
        try:
            yield from command(required.command, f"{self._prefix}none")
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                raise
            raise RetentionError(required.missing) from error

    def check_keys(self, thread: bytes) -> Operation[None]:
        """Make sure that nobody else uses the names of our keys.

        Raises:
            RetentionError: One of them is something else.
        """
        for key, expected in ((self.index_key(thread), b"zset"), (self.pins_key(thread), b"hash")):
            found = yield from command("TYPE", key)
            found = found.encode() if isinstance(found, str) else found
            if found not in (expected, b"none"):
                raise _wrong_type(key, expected.decode())

    def track(
        self, documents: Sequence[bytes], rules: Sequence[Rule] = ()
    ) -> Operation[list[Tracked]]:
        """Take documents that were just written into their indexes; trim what crosses its trigger.

        One call: the caller bounds the number of documents, some 10 microseconds each.

        Args:
            documents: Keys that may be checkpoint documents, or lists of checkpoints where the
                format has these; what is none is passed over.
            rules: The first whose pattern matches a thread counts for it.
        """
        if self.layout.lists_itself:
            reply = yield from self._call("notice", documents, self._notice_arguments(rules))
        else:
            arguments = self._track_arguments(b"", rules, told=True)
            reply = yield from self._call("track", documents, arguments)
        return [self._tracked(*row) for row in reply[1:]]

    def _tracked(self, thread: bytes, state: bytes, *rest: Any) -> Tracked:
        if state == b"refused":
            error = self._explained(ResponseError(rest[0].decode()), self.index_key(thread))
            return Tracked(thread, Tally(), False, False, 0, str(error))
        return self._trimmed(thread, state, *rest)

    def _trimmed(
        self, thread: bytes, state: bytes, checkpoints: int, keys: int, left: int, bytes_freed: int
    ) -> Tracked:
        deleted = Tally(checkpoints, keys, self._weighed(bytes_freed))
        return Tracked(thread, deleted, state == b"more", state == b"unsupported", left)

    def _weighed(self, bytes_freed: int) -> int:
        if bytes_freed < 0:
            # It will not be allowed the next time either, and each refusal is logged.
            self._weigh = False
        return max(bytes_freed, 0)

    def index(
        self, thread: bytes, documents: Mapping[bytes, int], *, by_names: bool = False
    ) -> Operation[Entries]:
        """Bring a thread's index up to date with its documents.

        It is never empty meanwhile: others may trim by it, and add to it.

        Args:
            thread: The thread as it stands in the keys.
            documents: Keys of documents that may be its checkpoints, each with the number of
                write documents seen for it.
            by_names: Do not read root checkpoints, of which the names say it all, but make sure
                that they are the thread's: a trim reads what it keeps.
        """
        known = yield from self.entries(thread)
        # What could not be judged is read again.
        yield from command("ZREMRANGEBYLEX", self.index_key(thread), b"[x", b"(y")
        found = Entries()
        if by_names:
            found.statuses = yield from self._note_seen(thread, documents)
        # In the order of their ids: each is asked for by the next one.
        unread = sorted(documents.keys() - found.statuses.keys())
        for some in chunks(unread, DOCUMENTS_PER_CALL):
            taken = yield from self.take(some, thread, [documents[key] for key in some])
            found.statuses.update(zip(some, taken.statuses, strict=True))
        for some in chunks(known - documents.keys(), DOCUMENTS_PER_CALL):
            yield from self.forget(some)
        return found

    def _note_seen(
        self, thread: bytes, documents: Mapping[bytes, int]
    ) -> Operation[dict[bytes, str]]:
        """Note those of a thread's documents that are root checkpoints, and say what they are."""
        roots = self.roots_by_name(thread, documents)
        statuses: dict[bytes, str] = {}
        for some in chunks(sorted(roots), NAMES_PER_CALL):
            ids = [roots[key] for key in some]
            reply = yield from self._note(thread, ids, [documents[key] for key in some])
            found = zip(some, _words(reply), strict=True)
            statuses.update((key, status) for key, status in found if status in CHECKPOINTS)
        return statuses

    def roots_by_name(self, thread: bytes, documents: Iterable[bytes]) -> dict[bytes, bytes]:
        """Those of some documents that can only be a thread's root checkpoints, with their ids."""
        roots = ((key, self.layout.root_key(key)) for key in documents)
        return {
            key: root.checkpoint_id
            for key, root in roots
            if root and root.certain and root.thread == thread
        }

    def _note(
        self, thread: bytes, ids: Sequence[bytes], seen: Sequence[int]
    ) -> Operation[list[bytes]]:
        arguments: list[Argument] = [thread, *self.layout.arguments(), len(ids), *ids, *seen]
        statuses: list[bytes] = yield from self._call(
            "add_roots", [self.index_key(thread)], arguments
        )
        return statuses

    def forget(self, documents: Sequence[bytes]) -> Operation[int]:
        """Take checkpoints out of their indexes that others have deleted, and say how many.

        One call, or more for names with many colons: the caller bounds the number of documents,
        some 8 microseconds each.

        Args:
            documents: Keys that may have been checkpoint documents; what exists stays.
        """
        arguments = self._forget_arguments()
        forgotten, left = 0, list(documents)
        while left:
            found, dealt_with = yield from self._call("forget", left, arguments)
            forgotten += found
            left = left[dealt_with:]
        return forgotten

    def retire(self, thread: bytes) -> Operation[None]:
        """Delete the pins and the index of a thread, if it is gone."""
        yield from self._call("forget", (), [*self._forget_arguments(), thread])

    def _forget_arguments(self) -> list[Argument]:
        return [self._index_start, *self.layout.arguments(), self._pins_start]

    def _track_arguments(
        self, only: bytes, rules: Sequence[Rule], *, told: bool = False
    ) -> list[Argument]:
        return [
            self._index_start,
            self._pins_start,
            *self.layout.arguments(),
            self.keys_per_call,
            only,
            int(self._weigh),
            self.grace_ms,
            int(told),
            len(rules),
            *(value for rule in rules for value in rule.arguments()),
        ]

    def _notice_arguments(self, rules: Sequence[Rule]) -> list[Argument]:
        return [
            self._index_start,
            self._pins_start,
            *self.layout.arguments(),
            self.keys_per_call,
            int(self._weigh),
            self.grace_ms,
            len(rules),
            *(value for rule in rules for value in rule.arguments()),
        ]

    def read(self, thread: bytes, documents: Mapping[bytes, int]) -> Operation[Entries]:
        """Read what `index` would put into the index, without writing anything."""
        found, leaves, parents = Entries(), {}, set()
        # Once the index knows checkpoints, it alone knows which are leaves, and since when.
        marks = yield from command("ZRANGEBYLEX", self.index_key(thread), b"[e", b"(u")
        since = {mark[:-_LEAF_TIME]: mark for mark in marks if mark[:1] == b"l"}
        known = {_leaf_name(mark) for mark in marks if _is_checkpoint(mark)}
        found.members += [mark for mark in marks if mark[:1] == b"e"]
        for some in chunks(sorted(documents), DOCUMENTS_PER_CALL):
            seen = [documents[key] for key in some]
            reply = yield from self._call("read", some, [*self.layout.arguments(), thread, *seen])
            found.statuses.update(zip(some, _words(reply[0]), strict=True))
            for leaf, parent, *members in reply[1:]:
                found.members.extend(members)
                parents.add(parent)
                if leaf:
                    leaves[leaf[:-_LEAF_TIME]] = leaf
        found.members += [
            since.get(name, leaf)
            for name, leaf in leaves.items()
            if name not in parents and (name in since or name not in known)
        ]
        found.members.sort()
        return found

    def trim(
        self,
        thread: bytes,
        policy: Policy,
        *,
        complete: bool = False,
        names: Sequence[bytes] | None = None,
    ) -> Operation[Trimmed]:
        """Trim a thread by its index, call after call until nothing is left to delete.

        Each call waits for the reply to the one before, so that others are served in between,
        and each leaves the thread in order.

        Args:
            thread: The thread as it stands in the keys.
            policy: What to keep.
            complete: The index is known to have all of the thread's checkpoints. Otherwise the
                subgraphs of root checkpoints that it does not know stay.
            names: Ids of root checkpoints that the index may not know, which go into it by their
                names alone. If there is such a list, `keys_left` is counted.
        """
        result = Trimmed()
        again = 0
        names, count = names or (), int(names is not None)
        if len(names) > NAMES_PER_CALL:
            yield from self.note(thread, names)
            names = ()
        while True:
            reply = yield from self._call(
                "trim",
                [self.index_key(thread), self.pins_key(thread)],
                [
                    thread,
                    *self.layout.arguments(),
                    self.keys_per_call,
                    again,
                    int(complete),
                    int(self._weigh),
                    count,
                    self.grace_ms,
                    *policy.arguments(),
                    *names,
                ],
            )
            state, checkpoints, keys, result.left, namespace, checkpoint_id, bytes_freed = reply[:7]
            result.keys_left = reply[7]
            result.deleted.add(checkpoints, keys, self._weighed(bytes_freed))
            if state == b"unsupported":
                result.unjudged = Place(namespace, checkpoint_id)
            if state != b"more":
                return result
            again, names = 1, ()

    def look(self, keys: Sequence[bytes], match: bytes = b"*") -> Operation[Look]:
        """Say which keys of the saver need something.

        One call: the caller bounds the number of keys, some 5 microseconds each.

        Args:
            keys: Documents, write documents, registries and pointers of any threads.
            match: A glob for the threads to look at.
        """
        arguments: list[Argument] = [self._index_start, *self.layout.arguments(), match]
        return Look(*(yield from self._call("inspect", keys, arguments)))

    def note(self, thread: bytes, ids: Sequence[bytes]) -> Operation[None]:
        """Take root checkpoints into the index of a thread by their names alone.

        Args:
            thread: The thread as it stands in the keys.
            ids: What the names say; those are taken whose documents confirm it.
        """
        # Oldest first: a checkpoint is no leaf once a child of it is noted.
        for some in chunks(sorted(ids), NAMES_PER_CALL):
            yield from self._note(thread, some, [0] * len(some))

    def read_names(self, thread: bytes, ids: Sequence[bytes]) -> Operation[None]:
        """Take root checkpoints into the index of a thread by what their documents say.

        Args:
            thread: The thread as it stands in the keys.
            ids: What names say; what is no checkpoint of this thread is passed over.
        """
        for some in chunks(ids, DOCUMENTS_PER_CALL):
            documents = [self.layout.checkpoint_key(thread, b"", name) for name in some]
            yield from self.take(documents, thread)

    def read_up(self, thread: bytes, unread: Sequence[bytes]) -> Operation[None]:
        """Read the documents of which a thread's index knows only the names.

        Args:
            thread: The thread as it stands in the keys.
            unread: Their index entries (``lua/include/entry.lua``).
        """
        for some in chunks(unread, DOCUMENTS_PER_CALL):
            yield from self.take(self._documents(thread, some), thread)
            yield from command("ZREM", self.index_key(thread), *some)

    def take(
        self, documents: Sequence[bytes], thread: bytes = b"", writes: Sequence[int] = ()
    ) -> Operation[Taken]:
        """Take documents into the indexes of their threads.

        One call: the caller bounds the number of documents.

        Args:
            documents: Keys that may be checkpoint documents; what is none is passed over.
            thread: The only thread to take, empty for any.
            writes: How many write documents were seen for each, if that was looked for.

        Raises:
            RetentionError: The server would not change the index of that thread.
        """
        arguments = [*self._track_arguments(thread, ()), *writes]
        reply = yield from self._call("track", documents, arguments)
        rows = [self._tracked(*row) for row in reply[1:]]
        refused = {row.thread: row.refused for row in rows if row.refused is not None}
        if thread in refused:
            raise RetentionError(refused[thread])
        return Taken(list(_words(reply[0])), refused)

    def members(
        self, threads: Sequence[bytes], most: int
    ) -> Operation[list[list[bytes] | RetentionError]]:
        """The index entries of some threads, of each the first `most`, or what is wrong with it."""
        keys = [self.index_key(thread) for thread in threads]
        found: list[Any] = []
        while len(found) < len(keys):
            found += yield from self._call("entries", keys[len(found) :], [most, _ENTRIES_PER_CALL])
        return [
            entries if isinstance(entries, list) else _wrong_type(key, "zset")
            for key, entries in zip(keys, found, strict=True)
        ]

    def count(self, thread: bytes) -> Operation[tuple[int, int]]:
        """How many checkpoints a thread's index knows, and keys of the root checkpoints.

        The keys are counted as in `Trimmed.keys_left`.
        """
        arguments: list[Argument] = [self._index_start, *self.layout.arguments(), 0, 1]
        rows = yield from self._call("measure", [self.index_key(thread)], arguments)
        checkpoints, keys = rows[0][:2]
        return checkpoints, keys

    def counts(self, threads: Sequence[bytes]) -> Operation[list[int]]:
        """How many checkpoints are known of some threads."""
        arguments: list[Argument] = [self._index_start, *self.layout.arguments(), 0, 0]
        keys = [self.index_key(thread) for thread in threads]
        rows = yield from self._call("measure", keys, arguments)
        return [row[0] for row in rows]

    def entries(self, thread: bytes) -> Operation[set[bytes]]:
        """The keys of the checkpoint documents that a thread's index knows."""
        members = yield from command("ZRANGEBYLEX", self.index_key(thread), b"[s", b"(u")
        return set(self._documents(thread, filter(_is_checkpoint, members)))

    def healed(self, thread: bytes, operation: Callable[[], Operation[T]]) -> Operation[T]:
        """Do something with a thread, twice if the scripts can make nothing of its index.

        What is in the index then is not from us. It is only a cache, and is built anew.
        """
        try:
            return (yield from operation())
        except ResponseError as error:
            if not is_script_error(error):
                raise
        yield from self.drop_index(thread)
        return (yield from operation())

    def drop_index(self, thread: bytes) -> Operation[None]:
        """Forget a thread's index, of which the scripts can make nothing: a look builds it anew."""
        yield from command("UNLINK", self.index_key(thread))

    def document(self, thread: bytes, member: bytes) -> bytes:
        """The key of the document that an index entry of a checkpoint speaks of."""
        namespace, checkpoint_id = [*member[1:].split(b"\0", 2), b""][:2]
        return self.layout.checkpoint_key(thread, namespace, checkpoint_id)

    def _documents(self, thread: bytes, members: Iterable[bytes]) -> list[bytes]:
        return [self.document(thread, member) for member in members]

    def judge(
        self,
        thread: bytes,
        policy: Policy,
        members: Sequence[bytes] | None = None,
        *,
        describe: bool = False,
        complete: bool = True,
    ) -> Operation[Judged]:
        """Say what `trim` would do, without doing it.

        Args:
            thread: The thread as it stands in the keys.
            policy: What to keep.
            members: The thread's index entries in the order of bytes; None to use its index.
            describe: Let each verdict have a description.
            complete: `members` are all that there are.
        """
        result = Judged()
        cursor = b""
        while True:
            reply = yield from self._call(
                "plan",
                [self.index_key(thread), self.pins_key(thread)],
                [
                    thread,
                    *self.layout.arguments(),
                    cursor,
                    _DESCRIBED_PAGE if describe else _PAGE,
                    self.grace_ms,
                    *policy.arguments(),
                    int(describe),
                    *([0] if members is None else [1 if complete else 2, *members]),
                ],
            )
            state, cursor, namespace, checkpoint_id, *rows = reply
            if state == b"unread":
                documents = yield from self.entries(thread)
                read = yield from self.read(thread, dict.fromkeys(documents, 0))
                return (
                    yield from self.judge(
                        thread, policy, read.members, describe=describe, complete=False
                    )
                )
            if state == b"unsupported":
                result.unjudged = Place(namespace, checkpoint_id)
                return result
            result.verdicts.extend(_verdict(row) for row in rows)
            if not cursor:
                return result

    def clean(
        self,
        thread: bytes,
        remains: Iterable[Remains],
        pointers: Iterable[bytes],
        *,
        older_than_ms: int = LEFTOVER_AGE_MS,
        members: Sequence[bytes] | None = None,
    ) -> Operation[tuple[Tally, int]]:
        """Delete what writers left of checkpoints that are gone.

        Args:
            thread: The thread as it stands in the keys; empty for what cannot be said whose it is.
            remains: What may be left of its checkpoints.
            pointers: Newest-checkpoint pointers that may point at nothing.
            older_than_ms: Milliseconds, by the time in an id, after which something is an orphan
                that is not newer than the newest checkpoint.
            members: The thread's index entries in the order of bytes, to count and not delete;
                None to delete, by the index.

        Returns:
            What was deleted, and how many stubs are left.
        """
        entries = [] if members is None else list(members)
        head: list[Argument] = [
            thread,
            *self.layout.arguments(),
            older_than_ms,
            int(members is not None),
            -1 if members is None else len(entries),
            *entries,
        ]
        tally, stubs = Tally(), 0
        for groups in self._grouped(remains, pointers):
            reply = yield from self._call("orphans", [self.index_key(thread)], [*head, *groups])
            tally.add(reply[0], reply[1])
            stubs += reply[2]
        return tally, stubs

    def _grouped(
        self, remains: Iterable[Remains], pointers: Iterable[bytes]
    ) -> Iterator[list[Argument]]:
        """The arguments of as many calls as the bound on deleted keys makes necessary."""
        groups: list[Argument] = []
        room = self.keys_per_call
        for what, name, writes in self._pieces(remains, pointers):
            cost = 2 + len(writes)
            if cost > room and groups:
                yield groups
                groups, room = [], self.keys_per_call
            groups += [what, name, len(writes), *writes]
            room -= cost
        if groups:
            yield groups

    def _pieces(
        self, remains: Iterable[Remains], pointers: Iterable[bytes]
    ) -> Iterator[tuple[str, bytes, Sequence[bytes]]]:
        for group in remains:
            what = "deleted" if group.gone else "unknown"
            pieces = list(chunks(group.writes, self.keys_per_call - 2)) or [[]]
            for writes in pieces:
                yield what, group.suffix, writes
        for pointer in pointers:
            yield "pointer", pointer, ()

    def _call(
        self, name: str, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> Operation[Any]:
        try:
            return (yield from send(Call(self._script(name), keys, arguments)))
        except ResponseError as error:
            raise self._explained(error, keys[0] if keys else self._prefix) from error

    def _explained(self, error: ResponseError, key: Argument) -> Exception:
        if "WRONGTYPE" not in str(error):
            return error
        return RetentionError(
            f"a key under our prefix {self._prefix!r} has a type that is not ours "
            f"({_shown(key)} or the like): give it another name, or choose another "
            "prefix with --prefix"
        )

    def _script(self, name: str) -> Script:
        return load(name, self.layout.name)


def _words(replies: Iterable[bytes]) -> Iterator[str]:
    return (reply.decode() for reply in replies)


def _verdict(row: Sequence[Any]) -> Verdict:
    namespace, checkpoint_id, reasons, documents, keys, *description = row
    names = tuple(reasons.decode().split(",")) if reasons else ()
    described = _description(*description) if description else None
    return Verdict(Place(namespace, checkpoint_id), names, documents, keys, described)


def _description(source: bytes, step: bytes, made_ms: bytes, size: bytes) -> Description:
    def number(text: bytes) -> int | None:
        try:
            return int(float(text))
        except ValueError:
            return None

    shown = source.decode("utf-8", "replace") or None
    return Description(shown, number(step), number(made_ms), number(size))


def _shown(key: Argument) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def _wrong_type(key: bytes, expected: str) -> RetentionError:
    return RetentionError(
        f"the key {_shown(key)} is not a {expected} of ours: give it another name, or choose "
        "another prefix with --prefix"
    )
