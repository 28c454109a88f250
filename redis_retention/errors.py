"""What can go wrong, and whether it concerns one thread or all of them."""

from __future__ import annotations

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

from redis_retention.sans_io import Operation, T

# The server refuses these whatever the thread; redis-py has no classes for the codes.
_REFUSES_ALL = (
    ReadOnlyError,
    OutOfMemoryError,
    NoPermissionError,
    MasterDownError,
    ClusterDownError,
    TryAgainError,
)
_REFUSES_ALL_CODES = ("MISCONF", "NOREPLICAS", "BUSY ", "UNKILLABLE")

# After so many missing replies in a row it is not the threads' fault.
_MOST_TIMEOUTS = 5


class RetentionError(Exception):
    """Something stands in the way; the message says what, and what to do."""


class ServerLacks(RetentionError):
    """The server lacks what a storage format needs."""


def wrong_type(key: bytes, expected: str) -> RetentionError:
    """The error of a key with a name of ours that is not of the type expected."""
    return RetentionError(
        f"the key {key.decode('utf-8', 'replace')} is not a {expected} of ours: give it another "
        "name, or choose another prefix with --prefix"
    )


def is_script_error(error: Exception) -> bool:
    """Whether a script failed on what it read."""
    return isinstance(error, ResponseError) and "user_script" in str(error)


def is_of_one_thread(error: Exception) -> bool:
    """Whether an error may be the fault of the thread that was asked for, and of no other."""
    if isinstance(error, _REFUSES_ALL) or str(error).startswith(_REFUSES_ALL_CODES):
        return False
    return isinstance(error, ResponseError | NoReplyError | RetentionError)


class Refusals:
    """What failed with single threads, while the others are worked off.

    Attributes:
        reasons: For each thread why it is left alone.
    """

    def __init__(self, most: int = 1_000) -> None:
        self.reasons: dict[bytes, str] = {}
        self._most = most
        self._timeouts = 0

    def add(self, thread: bytes, reason: str) -> None:
        """Record why a thread is left alone, while there is room."""
        if len(self.reasons) < self._most:
            self.reasons[thread] = reason

    def attempt(self, thread: bytes, operation: Operation[T], otherwise: T) -> Operation[T]:
        """Run an operation on a thread; if it fails, record why and return `otherwise`.

        Raises:
            redis.exceptions.RedisError: It is not the thread's fault.
        """
        try:
            result = yield from operation
        except (ResponseError, NoReplyError, RetentionError) as error:
            self._timeouts = self._timeouts + 1 if isinstance(error, NoReplyError) else 0
            if not is_of_one_thread(error) or self._timeouts >= _MOST_TIMEOUTS:
                raise
            self.add(thread, str(error))
            return otherwise
        self._timeouts = 0
        return result
