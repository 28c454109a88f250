"""The pins of all storage formats that are served: each has its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from redis_retention.engine import Engine, Place
from redis_retention.errors import ServerLacks
from redis_retention.layouts.names import title
from redis_retention.pins import NoSuchCheckpoint, Pin, Pins
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.sources.scan import each_key, escape_glob


class ServedPins:
    """The pins of the threads in all formats that are served, as operations."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._pins = {engine: Pins(engine) for engine in served.engines}

    def pin(self, thread: bytes, place: Place | None = None, note: str = "") -> Operation[None]:
        """Pin a checkpoint where it is, or the whole thread in whatever format it is.

        Raises:
            NoSuchCheckpoint: It is in none.
            RetentionError: A name of ours is taken.
        """
        if place is None:
            for pins in self._pins.values():
                yield from pins.pin(thread, None, note)
            return
        missing: NoSuchCheckpoint | ServerLacks | None = None
        for pins in self._pins.values():
            try:
                yield from pins.pin(thread, place, note)
            except (NoSuchCheckpoint, ServerLacks) as error:
                missing = missing or error
            else:
                return
        if missing is not None:
            raise missing

    def unpin(self, thread: bytes, place: Place | None = None) -> Operation[bool]:
        """Take a pin away again; False when there is none."""
        unpinned = False
        for pins in self._pins.values():
            unpinned |= yield from pins.unpin(thread, place)
        return unpinned

    def of(self, thread: bytes) -> Operation[list[Pin]]:
        """All pins of a thread, those of the whole thread first, then the oldest first."""
        return (yield from self._read(thread, self._served.engines))

    def all(self) -> Operation[dict[bytes, list[Pin]]]:
        """The pins of all threads, by thread, in the order of bytes."""
        starts = {engine.pins_key(b""): engine for engine in self._served.engines}
        threads: defaultdict[bytes, set[Engine]] = defaultdict(set)

        def take(key: bytes) -> None:
            for start, engine in starts.items():
                if key.startswith(start):
                    threads[key[len(start) :]].add(engine)

        pattern = escape_glob(f"{self._served.first.prefix}pins:".encode()) + b"*"
        yield from each_key(pattern, take)
        found: dict[bytes, list[Pin]] = {}
        for thread in sorted(threads):
            found[thread] = yield from self._read(thread, threads[thread])
        return {thread: pinned for thread, pinned in found.items() if pinned}

    def _read(self, thread: bytes, engines: Iterable[Engine]) -> Operation[list[Pin]]:
        found: dict[Pin, list[str]] = {}
        for engine in engines:
            for pin in (yield from self._pins[engine].of(thread)):
                found.setdefault(pin, []).append(title(engine.layout))
        pinned = [
            replace(pin, layout=None if self._is_everywhere(pin, layouts) else layouts[0])
            for pin, layouts in found.items()
        ]
        return sorted(pinned, key=lambda pin: pin.place is not None)

    def _is_everywhere(self, pin: Pin, layouts: Sequence[str]) -> bool:
        return len(layouts) > 1 or (pin.place is None and self._served.auto)
