"""Documents that have changed, and wait to be worked off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic

ROOM = 100_000


class Change(Enum):
    """What has happened to a document."""

    WRITTEN = "written"
    GONE = "gone"


# Beside what the layout says. A merge (`json.merge`) adds to a document that had an event already,
# or makes a stub of one to come.
CHANGES = {
    b"rename_to": Change.WRITTEN,
    b"restore": Change.WRITTEN,
    b"copy_to": Change.WRITTEN,
    b"move_to": Change.WRITTEN,
    b"del": Change.GONE,
    b"expired": Change.GONE,
    b"evicted": Change.GONE,
    b"rename_from": Change.GONE,
    b"move_from": Change.GONE,
}


@dataclass(slots=True)
class Changed:
    """A document that has changed.

    Attributes:
        key: Its key.
        change: The last thing that has happened to it.
        since: When the first has.
    """

    key: bytes
    change: Change
    since: float = field(default_factory=monotonic)


class Inbox:
    """Documents that have changed, each once, the one that has waited longest first.

    Args:
        room: How many it holds at most.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._changes: dict[bytes, Changed] = {}
        self._something = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        return len(self._changes)

    def oldest(self) -> float:
        """Seconds for which the one that has waited longest has, 0 when there is none."""
        first = next(iter(self._changes.values()), None)
        return 0.0 if first is None else monotonic() - first.since

    def put(self, key: bytes, change: Change) -> bool:
        """Add a change; False when there is no room for it."""
        known = self._changes.get(key)
        if known is not None:
            known.change = change
        elif len(self._changes) >= self._room:
            return False
        else:
            self._changes[key] = Changed(key, change)
        self._something.set()
        return True

    def take(self, count: int) -> list[Changed]:
        """Take out those that have waited longest."""
        taken = [self._changes.pop(key) for key in list(self._changes)[:count]]
        if not self._changes and not self._closed:
            self._something.clear()
        return taken

    def put_back(self, changes: Iterable[Changed]) -> None:
        """Put in front again what could not be worked off, unless it has changed since."""
        returned = {one.key: one for one in changes if one.key not in self._changes}
        self._changes = {**returned, **self._changes}
        if self._changes:
            self._something.set()

    async def filled(self) -> None:
        """Wait until there is something, or the end."""
        await self._something.wait()

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closed = True
        self._something.set()
