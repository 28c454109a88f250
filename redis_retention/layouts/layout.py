"""What Python asks of a storage format.

Names only sort keys into families here. Whose a key is, the documents say, in Lua.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple, Protocol

# Bytes of a thread id. What is longer is refused: a name is read byte by byte in many places.
LONGEST_THREAD = 4_096
# The same of a whole key, with namespace, checkpoint, task and prefix.
LONGEST_KEY = 2 * LONGEST_THREAD

# Bytes that are shown of such a key.
_SHOWN = 60


def too_long(key: bytes) -> tuple[bytes, str] | None:
    """What to show of a key that is longer than `LONGEST_KEY`, and why it is left alone."""
    if len(key) <= LONGEST_KEY:
        return None
    return key[:_SHOWN], f"a key of {len(key)} bytes is too long to be looked at"


def too_long_id(thread: bytes) -> str | None:
    """Why a thread is left alone whose id is longer than `LONGEST_THREAD`; None for others."""
    if len(thread) <= LONGEST_THREAD:
        return None
    return (
        f"a thread id has {len(thread)} bytes, and may have {LONGEST_THREAD}: threads with longer "
        "ids are left alone"
    )


class Family(Enum):
    """What a key of the saver is for."""

    CHECKPOINT = auto()
    WRITE = auto()
    REGISTRY = auto()
    LATEST = auto()
    SHARED = auto()
    """What several checkpoints name, such as the value of a channel in a version."""


class RootKey(NamedTuple):
    """What the name of a key in the root namespace says.

    Attributes:
        family: What the key is for.
        thread: The thread as it stands in the keys.
        suffix: What all keys of the checkpoint have in common; of a pointer, its place.
        checkpoint_id: The id of the checkpoint; empty for a pointer and for a shared key.
        certain: The name can be read in no other way.
    """

    family: Family
    thread: bytes
    suffix: bytes
    checkpoint_id: bytes
    certain: bool = True


@dataclass(frozen=True, slots=True)
class SearchIndex:
    """An index of RediSearch that a saver makes for itself.

    Attributes:
        name: What it is called.
        start: What the names of the documents in it begin with.
        thread_path: Where in these the thread id is.
        thread_field: What it calls the tag of the thread.
    """

    name: str
    start: bytes
    thread_path: bytes
    thread_field: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a server must have to hold the documents of a storage format.

    Attributes:
        command: A command that reads one key, and is unknown where it is missing.
        missing: What to say then.
    """

    command: str
    missing: str


@dataclass(frozen=True, slots=True)
class Events:
    """The keyspace events that tell of checkpoints.

    Attributes:
        letters: The letters that the server's setting must have for them, beside those for
            deletions.
        written: What they are called where a checkpoint is written.
        trial: A command that makes such an event, without the key, which comes second.
    """

    letters: str
    written: frozenset[bytes]
    trial: tuple[str, ...]


class Layout(Protocol):
    """What Python must know of a storage format. ``lua/layouts/README.md`` says the rest.

    A *suffix* is what all keys of one checkpoint have in common: the key without what its family's
    names begin with, but for the last byte of that, a colon; of a write also without its own parts.
    """

    @property
    def name(self) -> str:
        """The Lua half: a file's name below ``lua/layouts/``, or the path of one elsewhere."""

    @property
    def tag(self) -> str:
        """A part of the names of our own keys that distinguishes savers; no colon."""

    @property
    def events(self) -> Events:
        """The keyspace events of keys in the family of checkpoints."""

    @property
    def lists_itself(self) -> bool:
        """Whether the format has lists of a thread's checkpoints, which the name of a key finds.

        Then the family of checkpoints are these lists, `root_key` says whose one is, and the Lua
        half answers `layout.listed`.
        """

    @property
    def lists_names(self) -> bool:
        """Whether the lists name checkpoints, and may name some that are gone."""

    @property
    def write_parts(self) -> int:
        """How many parts, none with a colon, follow the id in the name of a pending write."""

    @property
    def documents_per_call(self) -> int:
        """Documents of which a call reads what shared keys they name; for a millisecond or two."""

    @property
    def requirement(self) -> Requirement | None:
        """What a server must have, None if any server will do."""

    def arguments(self) -> list[str]:
        """The two values that the scripts hand to ``layout.use``."""

    def families(self) -> dict[bytes, Family]:
        """What the names of each family's keys begin with."""

    def search_indexes(self) -> dict[Family, SearchIndex]:
        """The saver's search indexes, by the family of the documents in them; may be none."""

    def stored_thread(self, thread: str | bytes) -> bytes:
        """A thread id as it stands in keys and documents."""

    def checkpoint_key(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """The key of a checkpoint's document; the root namespace is ``b""``."""

    def checkpoint_suffix(self, thread: bytes, namespace: bytes, checkpoint_id: bytes) -> bytes:
        """What all keys of a checkpoint have in common."""

    def suffix(self, family: Family, rest: bytes) -> bytes:
        """The suffix, from one of the keys.

        Args:
            family: CHECKPOINT, WRITE or REGISTRY.
            rest: The key without what its family's names begin with.
        """

    def split(self, name: bytes) -> tuple[bytes, bytes]:
        """A checkpoint's key or suffix without the id, and the id.

        What comes first is the same for all checkpoints of a thread in one namespace. The name of
        a list is all of that, and ``b""`` the id.
        """

    def latest_key(self, suffix: bytes) -> bytes | None:
        """The latest pointer of a checkpoint's namespace, None where the format has none."""

    def lists_of(self, thread: bytes, /) -> list[bytes]:
        """The format's own lists of a thread's checkpoints, one of which exists if the thread does.

        There are none in formats without `lists_itself`.
        """

    def root_key(self, key: bytes) -> RootKey | None:
        """What the name of a root checkpoint's key says, or that of the root's latest pointer.

        A sweep asks this of every key of a new thread. Of what is not certain only documents of
        checkpoints are answered; None for all else.
        """


def start_of(layout: Layout, family: Family) -> bytes:
    """What the names of a family's keys begin with, where they all begin alike."""
    [start] = [start for start, its in layout.families().items() if its is family]
    return start


def all_events(layouts: Sequence[Layout]) -> Events:
    """The events that tell of checkpoints in any of some formats."""
    some = [layout.events for layout in layouts]
    letters = dict.fromkeys(letter for events in some for letter in events.letters)
    written = frozenset[bytes]().union(*(events.written for events in some))
    return Events("".join(letters), written, some[0].trial)
