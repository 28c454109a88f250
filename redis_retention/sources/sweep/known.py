"""What a pass over the database knows of the threads that it has met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar

from redis_retention.engine.entries import root_id, roots
from redis_retention.layouts import Layout


class State(Enum):
    """What a pass knows of a thread."""

    NEW = auto()
    """It has no index: the first pass collects the names of its root checkpoints."""
    KNOWN = auto()
    """Its root checkpoints are remembered."""
    UNKNOWN = auto()
    """The server has to be asked about each of its keys."""
    UNWANTED = auto()
    """It is not to be looked at."""


@dataclass(slots=True)
class Known:
    """What the indexes of the threads say that a pass has met.

    Attributes:
        states: The threads.
        checkpoints: Hashes of what the keys of a root checkpoint have in common.
    """

    # A longer index is not remembered, and none is when this many checkpoints are: then the server
    # inspects the keys of those threads.
    MOST_ENTRIES: ClassVar[int] = 1000
    MOST_CHECKPOINTS: ClassVar[int] = 500_000

    states: dict[bytes, State] = field(default_factory=dict)
    checkpoints: set[int] = field(default_factory=set)

    @property
    def full(self) -> bool:
        """Whether no more threads are to be remembered."""
        return len(self.checkpoints) + len(self.states) >= self.MOST_CHECKPOINTS

    def state(self, thread: bytes) -> State:
        """What is known of a thread."""
        return self.states.get(thread, State.UNKNOWN)

    def set(self, thread: bytes, state: State) -> None:
        """Remember what is known of a thread, if there is room."""
        if not self.full:
            self.states[thread] = state

    def remember(self, layout: Layout, thread: bytes, entries: Sequence[bytes]) -> None:
        """Remember all that the index of a thread says, if there is room."""
        if self.full:
            return
        of_roots = roots(entries)
        if not of_roots or len(entries) >= self.MOST_ENTRIES:
            self.set(thread, State.UNKNOWN if entries else State.NEW)
            return
        self.set(thread, State.KNOWN)
        start = layout.checkpoint_suffix(thread, b"", b"")
        self.checkpoints.update([hash(start + root_id(entry)) for entry in of_roots])
