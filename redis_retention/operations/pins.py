"""Pins: threads and checkpoints that are retained whatever the policy says.

One hash per thread; ``lua/include/pins.lua`` says what is in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from redis_retention.engine import CHECKPOINTS, Engine, Place
from redis_retention.errors import RetentionError, ServerLacks
from redis_retention.layouts.names import title
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation, command
from redis_retention.served import Served
from redis_retention.sources.scan import each_key, escape_glob

_WHOLE_THREAD = b""


@dataclass(frozen=True, slots=True)
class Pin:
    """Something to retain.

    Attributes:
        place: Which checkpoint, None for the whole thread.
        note: The text that was given with it.
        layout: In which storage format, None for a thread in whatever format it is.
    """

    place: Place | None
    note: str = ""
    layout: str | None = field(default=None, compare=False)

    @property
    def namespace(self) -> str | None:
        """The checkpoint's namespace as text, None for the whole thread."""
        return None if self.place is None else _text(self.place.namespace)

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint's id as text, None for the whole thread."""
        return None if self.place is None else _text(self.place.checkpoint_id)


class NoSuchCheckpoint(RetentionError):
    """What is to be pinned is not there."""


class Pins:
    """The pins of the threads in one storage format, as operations."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def pin(self, thread: bytes, place: Place | None = None, note: str = "") -> Operation[None]:
        """Pin a checkpoint or, without a place, the whole thread.

        Raises:
            NoSuchCheckpoint: It is not there.
            RetentionError: A name of ours is taken.
        """
        yield from self._engine.check_keys(thread)
        if place is not None:
            yield from self._require(thread, place)
        text = note.encode("utf-8", "surrogateescape")
        yield from command("HSET", self._engine.pins_key(thread), _field(place), text)

    def unpin(self, thread: bytes, place: Place | None = None) -> Operation[bool]:
        """Remove a pin again; False when there is none."""
        yield from self._engine.check_keys(thread)
        removed = yield from command("HDEL", self._engine.pins_key(thread), _field(place))
        return bool(removed)

    def of(self, thread: bytes) -> Operation[list[Pin]]:
        """All pins of a thread, the one of the whole thread first, then the oldest first."""
        yield from self._engine.check_keys(thread)
        stored = yield from command("HGETALL", self._engine.pins_key(thread))
        return [Pin(_place(name), _text(stored[name])) for name in sorted(stored)]

    def _require(self, thread: bytes, place: Place) -> Operation[None]:
        yield from self._engine.check_server()
        if not (yield from self._exists(thread, place)):
            namespace = _text(place.namespace)
            where = f"namespace {namespace!r} of " if namespace else ""
            raise NoSuchCheckpoint(
                f"there is no checkpoint {_text(place.checkpoint_id)} in {where}thread "
                f"{_text(thread)}: `redis-retention plan` lists those that there are"
            )

    def _exists(self, thread: bytes, place: Place) -> Operation[bool]:
        layout = self._engine.layout
        if layout.lists_itself:
            found = yield from self._engine.plan(thread, Policy())
            return any(decision.place == place for decision in found.checkpoints)
        key = layout.checkpoint_key(thread, place.namespace, place.checkpoint_id)
        read = yield from self._engine.read(thread, {key: 0})
        return read.statuses[key] in CHECKPOINTS


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


def _field(place: Place | None) -> bytes:
    return _WHOLE_THREAD if place is None else place.namespace + b"\0" + place.checkpoint_id


def _place(field: bytes) -> Place | None:
    namespace, parted, checkpoint_id = field.partition(b"\0")
    return Place(namespace, checkpoint_id) if parted else None


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
