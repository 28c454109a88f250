"""How the scripts are called, and the names of our own keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import Any, Protocol, TypeVar

from redis.exceptions import ResponseError

from redis_retention.errors import RetentionError, ServerLacks, wrong_type
from redis_retention.layouts import LangGraphRedis, Layout
from redis_retention.pace import DEFAULT_KEYS_PER_CALL, DEFAULT_MAX_STALL_MS, Pace
from redis_retention.sans_io import Argument, Call, Command, Operation, Timed, command, send
from redis_retention.scripts import load

DEFAULT_PREFIX = "retention:"
DEFAULT_GRACE_MS = 60_000


# Scripts that can say, too, in which other formats a thread is; it is their first argument.
_ASKED_BESIDE = frozenset({"trim", "plan"})

CallsT = TypeVar("CallsT", bound="ScriptCalls")


class Beside(Protocol):
    """Learns in which other storage formats a thread is."""

    def names(self, thread: bytes) -> list[bytes]:
        """Names of which one exists if it is in another one."""

    def note(self, thread: bytes, existing: Sequence[bytes], forbidden: Sequence[bytes]) -> None:
        """Take in which of the names exist, and which may not be looked at."""

    def claims(self, thread: bytes, key: bytes) -> bool:
        """Whether a key of a thread can only be another format's."""


class ScriptCalls:
    """Calls scripts on the threads of one saver.

    Args:
        layout: The saver's storage format.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call of a script may delete at most. A server does nothing
            else meanwhile.
        max_stall_ms: Milliseconds for which a call of a trim is to hold the server up: as many keys
            go by one call as this server deletes in that time. None to let each delete
            `keys_per_call`.
        estimate_memory: Estimate the memory that trims free.
        grace_ms: Milliseconds for which a checkpoint is retained that no other has as its parent:
            it may be about to become the latest one. Also how long a thread must have been known to
            be idle before it expires.

    Raises:
        ValueError: `keys_per_call` is not from 10 to 5,000, `max_stall_ms` is not above 0,
            `grace_ms` is negative, or `prefix` is empty.
    """

    def __init__(
        self,
        layout: Layout | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        max_stall_ms: float | None = DEFAULT_MAX_STALL_MS,
        estimate_memory: bool = False,
        grace_ms: int = DEFAULT_GRACE_MS,
    ) -> None:
        if grace_ms < 0:
            raise ValueError("grace_ms must not be negative")
        if not prefix:
            raise ValueError("prefix must not be empty: it keeps our keys apart from all others")
        self.layout: Layout = layout or LangGraphRedis()
        self.prefix = prefix
        self._pace = Pace(keys_per_call, max_stall_ms)
        self.grace_ms = grace_ms
        self._estimate_memory = estimate_memory
        self._index_start = f"{prefix}index:{self.layout.tag}:".encode()
        self._pins_start = f"{prefix}pins:{self.layout.tag}:".encode()
        self.beside: Beside | None = None

    def asking(self: CallsT, beside: Beside) -> CallsT:
        """The same engine, which lets `beside` learn from its trims and plans."""
        asking = copy(self)
        asking.beside = beside
        return asking

    def names_of(self, thread: bytes) -> list[bytes]:
        """Names of which one exists if the thread is known to the format, or to our index."""
        return self.layout.lists_of(thread) or [self.index_key(thread)]

    @property
    def keys_per_call(self) -> int:
        """Keys that the next call of a script may delete."""
        return self._pace.keys

    def index_key(self, thread: bytes) -> bytes:
        """The sorted set that is a thread's index."""
        return self._index_start + thread

    def pins_key(self, thread: bytes) -> bytes:
        """The hash that holds a thread's pins."""
        return self._pins_start + thread

    def check_server(self) -> Operation[None]:
        """Make sure that the server can read the saver's documents.

        Raises:
            ServerLacks: It lacks what these need.
        """
        required = self.layout.requirement
        if required is None:
            return
        try:
            yield from command(required.command, f"{self.prefix}none")
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                raise
            raise ServerLacks(required.missing) from error

    def check_keys(self, thread: bytes) -> Operation[None]:
        """Make sure that nobody else uses the names of our keys.

        Raises:
            RetentionError: One of them is something else.
        """
        for key, expected in ((self.index_key(thread), "zset"), (self.pins_key(thread), "hash")):
            found = yield from command("TYPE", key)
            found = found.decode() if isinstance(found, bytes) else found
            if found not in (expected, "none"):
                raise wrong_type(key, expected)

    def call(
        self, name: str, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> Operation[Any]:
        """Call a script and return its reply.

        Args:
            name: The file's name below ``lua/``.
            keys: Its KEYS.
            arguments: Its ARGV.

        Raises:
            RetentionError: A key of ours is something else.
        """
        call, thread = self._prepared(name, keys, arguments)
        try:
            reply = yield from send(call)
        except ResponseError as error:
            raise self._explained(error, keys[0] if keys else self.prefix) from error
        return self._learned(reply, thread)

    def _prepared(
        self, name: str, keys: Sequence[Argument], arguments: Sequence[Argument]
    ) -> tuple[Call, bytes | None]:
        """The call of a script, and the thread of which it tells in which formats it is, too."""
        thread = arguments[0] if arguments else None
        if self.beside is None or name not in _ASKED_BESIDE or not isinstance(thread, bytes):
            return Call(load(name, self.layout.name), keys, arguments), None
        names = self.beside.names(thread)
        script = load(name, self.layout.name, beside=True)
        return Call(script, keys, [*arguments, *names, len(names)]), thread

    def _learned(self, reply: Any, thread: bytes | None) -> Any:
        """The reply without what it tells of other formats, which is noted."""
        if self.beside is not None and thread is not None:
            self.beside.note(thread, *reply.pop())
        return reply

    def paced(
        self,
        name: str,
        keys: Sequence[Argument],
        arguments: Sequence[Argument],
        others: Sequence[Command] = (),
    ) -> Operation[tuple[Any, list[Any]]]:
        """Call a script that trims, and learn from it how many keys the next call may delete.

        It is called and raises like `call`.

        Args:
            name: The file's name below ``lua/``.
            keys: Its KEYS.
            arguments: Its ARGV.
            others: What to send right after it, in the same go.

        Returns:
            Its reply; and those to the others, or their refusals.
        """
        call, thread = self._prepared(name, keys, arguments)
        try:
            reply, seconds, replies = yield Timed(call, others)
        except ResponseError as error:
            raise self._explained(error, keys[0]) from error
        reply = self._learned(reply, thread)
        bounded = reply[0] == b"more"
        if bounded and self._pace.needs_round_trip(seconds):
            _, round_trip, _ = yield Timed(Command(("PING",)))
            self._pace.note_round_trip(round_trip)
        # What others have taken says nothing of a call that was short.
        if bounded or not others:
            self._pace.note_call(seconds, bounded=bounded)
        return reply, replies

    def _explained(self, error: ResponseError, key: Argument) -> Exception:
        if "WRONGTYPE" not in str(error):
            return error
        shown = key.decode("utf-8", "replace") if isinstance(key, bytes) else key
        return RetentionError(
            f"a key under our prefix {self.prefix!r} has a type that is not ours "
            f"({shown} or the like): give it another name, or choose another "
            "prefix with --prefix"
        )

    def _estimated(self, bytes_freed: int) -> int:
        if bytes_freed < 0:
            # MEMORY USAGE will not be permitted the next time either, and each refusal is logged.
            self._estimate_memory = False
        return max(bytes_freed, 0)


def words(replies: Iterable[bytes]) -> Iterator[str]:
    """Replies of a script that are words."""
    return (reply.decode() for reply in replies)
