"""Sorts the keys of one page of SCAN by what has to be done with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from redis_retention.engine import Engine
from redis_retention.layouts import LONGEST_KEY, Family, RootKey
from redis_retention.sources.sweep.known import Known
from redis_retention.sources.sweep.others import Others


@dataclass(slots=True)
class Page:
    """The keys of one page that are of interest.

    Attributes:
        roots: Names that can only be a root checkpoint's, with what they say.
        pointers: Latest pointers of the root, with what their names say.
        others: Other keys of the saver.
        threads: Threads of these that the pass has not met yet, and of new indexes.
        indexed: Those whose index is among the keys.
        sharing: Threads that have shared keys, by the names of these.
        pinned: Threads that have pins.
        too_long: Keys of the saver that are too long to be looked at.
    """

    roots: list[tuple[RootKey, bytes]] = field(default_factory=list)
    pointers: list[tuple[RootKey, bytes]] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    threads: dict[bytes, None] = field(default_factory=dict)
    indexed: dict[bytes, None] = field(default_factory=dict)
    sharing: dict[bytes, None] = field(default_factory=dict)
    pinned: list[bytes] = field(default_factory=list)
    too_long: list[bytes] = field(default_factory=list)


class PageSorter:
    """Sorts pages, and drops the keys that need nothing.

    Args:
        engine: Says how keys are called.
        others: The other storage formats.
    """

    def __init__(self, engine: Engine, others: Others) -> None:
        self._others = others
        self._layout = engine.layout
        self._index_start = engine.index_key(b"")
        self._pins_start = engine.pins_key(b"")
        families_by_start = engine.layout.families()
        starts = {family: start for start, family in families_by_start.items()}
        self._starts = (*families_by_start, self._index_start, self._pins_start)
        # How names begin, and from where on they are the same for all keys of a checkpoint.
        families = Family.CHECKPOINT, Family.WRITE, Family.REGISTRY
        beginnings = [starts[family] for family in families if family in starts]
        self._beginnings = [(start, len(start) - 1) for start in beginnings]

    def sort(self, keys: Sequence[bytes], known: Known) -> Page:
        """Sort the keys of a page, of which some may be known to need nothing."""
        page, root_key, is_others = Page(), self._layout.root_key, self._others.own
        for key in self._unknown(keys, known.checkpoints):
            if len(key) > LONGEST_KEY:
                if key.startswith(self._starts):
                    page.too_long.append(key)
                continue
            root = root_key(key)
            if root is not None and root.certain:
                if root.family is Family.LATEST:
                    page.pointers.append((root, key))
                    continue
                if root.thread not in known.states:
                    page.threads[root.thread] = None
                page.roots.append((root, key))
            elif root is not None and root.family is Family.SHARED:
                page.sharing[root.thread] = None
            elif not is_others(key) and key.startswith(self._starts):
                self._sort_other(page, key, known)
        return page

    def _sort_other(self, page: Page, key: bytes, known: Known) -> None:
        if key.startswith(self._index_start):
            thread = key[len(self._index_start) :]
            if thread not in known.states:
                page.threads[thread] = page.indexed[thread] = None
        elif key.startswith(self._pins_start):
            page.pinned.append(key[len(self._pins_start) :])
        else:
            page.others.append(key)

    def _unknown(self, keys: Sequence[bytes], known: set[int]) -> Sequence[bytes]:
        """The keys that do not belong to a root checkpoint of which the hash is known."""
        if not known:
            return keys
        (document, document_end), (write, write_end), (registry, registry_end) = self._beginnings
        write_parts = self._layout.write_parts
        # This is where a sweep with nothing to do spends its time: no call of our own for a key.
        return [
            key
            for key in keys
            if hash(
                key[write_end:].rsplit(b":", write_parts)[0]
                if key.startswith(write)
                else key[document_end:]
                if key.startswith(document)
                else key[registry_end:]
                if key.startswith(registry)
                else key
            )
            not in known
        ]
