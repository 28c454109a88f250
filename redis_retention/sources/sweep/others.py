"""The storage formats beside the one that is swept: of which of them a pass meets keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from redis_retention.engine import Engine
from redis_retention.layouts import Family, RootKey
from redis_retention.sans_io import Operation

# Names that may be a thread's of a format and of another are asked about: so many of a page, and of
# a pass.
_ASKED_PER_PAGE = 20
_MOST_ASKED = 2_000
_MOST_PINNED = 10_000


class Others:
    """Keys of other formats, told by their names.

    Args:
        engines: The engines of the other formats.

    Attributes:
        met: Those of which there is something.
    """

    def __init__(self, engines: Iterable[Engine] = ()) -> None:
        self.met: set[Engine] = set()
        self._pinned: defaultdict[Engine, set[bytes]] = defaultdict(set)
        self._unsure: defaultdict[Engine, list[bytes]] = defaultdict(list)
        self._asked = 0
        self._formats: list[tuple[Engine, Callable[[bytes], RootKey | None]]] = []
        self._pins: list[tuple[bytes, Engine]] = []
        starts: set[bytes] = set()
        for engine in engines:
            self._formats.append((engine, engine.layout.root_key))
            self._pins.append((engine.pins_key(b""), engine))
            starts.update(engine.layout.families())
        self._starts = tuple(starts)
        self._pins_starts = tuple(start for start, _ in self._pins)

    def own(self, key: bytes) -> bool:
        """Whether a key that is not surely of the format that is swept is one of theirs.

        Args:
            key: Any key.
        """
        if not key.startswith(self._starts):
            if key.startswith(self._pins_starts):
                self._note_pin(key)
            return False
        for engine, root_key in self._formats:
            root = root_key(key)
            if root is None:
                continue
            if root.certain or root.family is Family.SHARED:
                self.met.add(engine)
                return True
            if engine not in self.met and len(self._unsure[engine]) < _ASKED_PER_PAGE:
                self._unsure[engine].append(root.thread)
        return False

    def ask(self) -> Operation[None]:
        """Find out whether a name was a thread's of another format that its names do not tell."""
        for engine, threads in self._unsure.items():
            if threads and engine not in self.met and self._asked < _MOST_ASKED:
                self._asked += len(threads)
                if any((yield from engine.counts(threads))):
                    self.met.add(engine)
        self._unsure.clear()

    def unused_pins(self) -> Iterator[tuple[Engine, bytes]]:
        """Threads that have pins in a format of which there is nothing."""
        for engine, threads in self._pinned.items():
            if engine not in self.met:
                yield from ((engine, thread) for thread in threads)

    def _note_pin(self, key: bytes) -> None:
        for start, engine in self._pins:
            pinned = self._pinned[engine]
            if key.startswith(start) and len(pinned) < _MOST_PINNED:
                pinned.add(key[len(start) :])
