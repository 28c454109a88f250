"""How many keys one call of a script may delete, so that it holds the server up for a set time.

How long a key takes differs by ten times between servers and documents, so the number follows what
calls have taken. They are timed by whoever makes them, and what a round trip takes is subtracted,
so that a server that is far away does not count as a slow one.
"""

from __future__ import annotations

SMALLEST_KEYS_PER_CALL = 10
# Some of them are handed on as arguments, of which Lua takes less than 8,000.
LARGEST_KEYS_PER_CALL = 5_000
DEFAULT_KEYS_PER_CALL = 1_000
DEFAULT_MAX_STALL_MS = 1.0

# Before anything is known of the server; some 5 microseconds each.
_FIRST = 200
# Fewer cost more to decide about than to delete. Large checkpoints are bounded by their bytes.
_FEWEST = 100
# One call may have waited for something else.
_LARGEST_CUT, _LARGEST_GROWTH = 0.5, 1.5


class Pace:
    """The number of keys that the next call may delete.

    Args:
        most: The number is never larger.
        max_stall_ms: Milliseconds that a call is to take at most; None to let each delete `most`.

    Raises:
        ValueError: `most` is not from 10 to 5,000, or `max_stall_ms` is not above 0.

    Attributes:
        keys: How many keys the next call may delete.
    """

    def __init__(self, most: int, max_stall_ms: float | None = DEFAULT_MAX_STALL_MS) -> None:
        if not SMALLEST_KEYS_PER_CALL <= most <= LARGEST_KEYS_PER_CALL:
            raise ValueError(
                f"keys_per_call must be from {SMALLEST_KEYS_PER_CALL} to {LARGEST_KEYS_PER_CALL}"
            )
        if max_stall_ms is not None and not max_stall_ms > 0:
            raise ValueError("max_stall must be more than no time at all")
        self._most = most
        self._seconds = None if max_stall_ms is None else max_stall_ms / 1000
        self._round_trip: float | None = None
        self.keys = most if max_stall_ms is None else min(_FIRST, most)

    def needs_round_trip(self, seconds: float) -> bool:
        """Whether it must be known what a round trip takes, to judge a call of so many seconds."""
        return self._seconds is not None and self._round_trip is None and seconds > self._seconds

    def note_round_trip(self, seconds: float) -> None:
        """Take in how many seconds a request took that costs the server next to nothing."""
        known = self._round_trip
        self._round_trip = seconds if known is None else min(seconds, known)

    def note_call(self, seconds: float, *, bounded: bool) -> None:
        """Take in how many seconds a call took.

        Args:
            seconds: From its request to the reply.
            bounded: It would have deleted more if it might.
        """
        if self._seconds is None or (not bounded and self._round_trip is None):
            return
        if self._round_trip is not None:
            self.note_round_trip(seconds)
            seconds -= self._round_trip
        factor = self._seconds / seconds if seconds > 0 else _LARGEST_GROWTH
        if factor < 1 or bounded:
            factor = min(max(factor, _LARGEST_CUT), _LARGEST_GROWTH)
            self.keys = min(max(round(self.keys * factor), _FEWEST), self._most)
