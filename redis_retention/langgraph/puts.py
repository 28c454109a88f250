"""Counts the puts of a saver, to know when its index in Redis must be asked at once.

The index is what counts: it knows what all processes have put, and outlives them.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from langchain_core.runnables import RunnableConfig

from redis_retention.engine import Rule
from redis_retention.layouts import LONGEST_THREAD, Layout
from redis_retention.policies import rule_for
from redis_retention.policy import Policy

# Threads of which it is remembered how many checkpoints they have.
_THREADS = 10_000


@dataclass(frozen=True, slots=True)
class Put:
    """A checkpoint that was just put.

    Attributes:
        thread: Its thread as it stands in the keys.
        namespace: Its namespace; ``b""`` is the root.
        key: Its document.
        unseen_parent: Its parent, if that was not put by this process just before; else ``b""``.
        urgent: It may have crossed the trigger.
    """

    thread: bytes
    namespace: bytes
    key: bytes
    unseen_parent: bytes
    urgent: bool


@dataclass(slots=True)
class _Count:
    """How many checkpoints a namespace has: in the index, and put since."""

    indexed: int = 0
    new: int = 0
    newest: bytes = b""


@dataclass(slots=True)
class _Thread:
    trigger: int | None
    counts: dict[bytes, _Count] = field(default_factory=dict)
    waiting: list[Put] = field(default_factory=list)
    taken_at: float = -math.inf

    def take(self) -> list[Put]:
        """Take the puts that wait."""
        taken, self.waiting = self.waiting, []
        return taken


class PutCounts:
    """How many checkpoints threads have, as far as this process knows.

    Args:
        layout: The saver's storage format.
        rules: What to keep of which thread; None until that is known.
    """

    def __init__(self, layout: Layout, rules: list[Rule] | None) -> None:
        self._layout = layout
        self._rules = rules
        self._lock = threading.Lock()
        self._threads: OrderedDict[bytes, _Thread] = OrderedDict()

    def use(self, rules: list[Rule]) -> None:
        """Count by other rules, from the beginning if they are not the same."""
        with self._lock:
            if rules != self._rules:
                self._threads.clear()
            self._rules = rules

    def add(self, before: RunnableConfig, after: RunnableConfig) -> Put | None:
        """Count a put.

        Args:
            before: What the put was given, with the parent's id.
            after: What it has returned, with the checkpoint's own.

        Returns:
            None when there is nothing to do about it.
        """
        place = after["configurable"]
        thread = self._layout.stored_thread(str(place["thread_id"]))
        if len(thread) > LONGEST_THREAD:
            return None
        namespace = str(place["checkpoint_ns"]).encode()
        name = _id_of(place)
        parent = _id_of(before["configurable"])
        if parent == name:
            parent = b""
        key = self._layout.checkpoint_key(thread, namespace, name)
        # The namespaces of invocations have a colon. They are deleted with their root checkpoint,
        # and not counted.
        if b":" in namespace:
            return Put(thread, namespace, key, b"", urgent=False)
        with self._lock:
            return self._add(thread, namespace, name, parent, key)

    def _add(self, thread: bytes, namespace: bytes, name: bytes, parent: bytes, key: bytes) -> Put:
        known = self._known(thread)
        count = known.counts.setdefault(namespace, _Count())
        unseen = b"" if parent == count.newest else parent
        count.newest = name
        count.new += 1
        crossed = known.trigger is not None and count.indexed + count.new > known.trigger
        urgent = bool(unseen) or crossed or self._rules is None
        return Put(thread, namespace, key, unseen, urgent)

    def _known(self, thread: bytes) -> _Thread:
        known = self._threads.get(thread)
        if known is None:
            rule = rule_for(self._rules or (), thread)
            known = self._threads[thread] = _Thread(rule.trigger if rule else None)
            if len(self._threads) > _THREADS:
                self._threads.popitem(last=False)
        else:
            self._threads.move_to_end(thread)
        return known

    def take_due(self, put: Put, *, window: float, most: int) -> list[Put]:
        """Take a put with those of its thread that wait for one, or let it wait: then nothing.

        Args:
            put: What was added last.
            window: Seconds since the last was taken, within which one can wait.
            most: So many do not wait.
        """
        with self._lock:
            known, now = self._known(put.thread), monotonic()
            known.waiting.append(put)
            full = len(known.waiting) >= most
            if not (put.urgent or full or now - known.taken_at >= window):
                return []
            known.taken_at = now
            return known.take()

    def take_all(self) -> list[Put]:
        """Take all that wait."""
        with self._lock:
            return [put for known in self._threads.values() for put in known.take()]

    def forget(self, threads: Collection[bytes]) -> None:
        """Know nothing of some threads: the next put of each has the server asked again."""
        with self._lock:
            for thread in threads:
                self._threads.pop(thread, None)

    def count_as_indexed(self, puts: Sequence[Put]) -> None:
        """Count puts as indexed: they are about to be."""
        with self._lock:
            for put in puts:
                count = self._count_of(put.thread, put.namespace)
                if count is not None and count.new:
                    count.indexed += 1
                    count.new -= 1

    def _count_of(self, thread: bytes, namespace: bytes) -> _Count | None:
        known = self._threads.get(thread)
        return known.counts.get(namespace) if known else None

    def set_indexed(self, thread: bytes, namespace: bytes, indexed: int) -> None:
        """Take over from the server how many checkpoints of a namespace are indexed."""
        with self._lock:
            count = self._count_of(thread, namespace)
            if count is not None:
                count.indexed = indexed

    def set_trimmed(self, thread: bytes, policy: Policy) -> None:
        """Count what a policy keeps. If more is retained, the trigger is crossed anew later."""
        with self._lock:
            known = self._threads.get(thread)
            for count in known.counts.values() if known else ():
                count.indexed = min(count.indexed, policy.keep_last or 0)


def _id_of(place: dict[str, Any]) -> bytes:
    return str(place.get("checkpoint_id") or "").encode()
