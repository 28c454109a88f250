"""The decision as rows: what a trim would do to each checkpoint, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from redis_retention.engine.index import IndexCalls
from redis_retention.engine.results import Decision, Decisions, Place
from redis_retention.policy import Policy
from redis_retention.sans_io import Argument, Operation

# Checkpoints that one call decides about, counts the keys of, describes.
_PAGE = 500
_DESCRIBED_PAGE = 100
# Entries that are brought go along with each page: of many there are few pages.
_PAGES = 4


class DecisionCalls(IndexCalls):
    """What can be asked without deleting."""

    def plan(
        self,
        thread: bytes,
        policy: Policy,
        entries: Sequence[bytes] | None = None,
        *,
        describe: bool = False,
        complete: bool = True,
    ) -> Operation[Decisions]:
        """Say what `trim` would do, without doing it.

        Args:
            thread: The thread as it stands in the keys.
            policy: What to keep.
            entries: The thread's index entries in the order of bytes; None to use its index.
            describe: Let each decision say what the checkpoint is.
            complete: `entries` are all that there are.
        """
        result = Decisions()
        brought = [0] if entries is None else [1 if complete else 2, *entries]
        page, cursor = _PAGE if entries is None else max(_PAGE, len(entries) // _PAGES), b""
        while True:
            reply = yield from self.call(
                "plan",
                [self.index_key(thread), self.pins_key(thread)],
                [
                    thread,
                    *self.layout.arguments(),
                    cursor,
                    page,
                    self.grace_ms,
                    *policy.arguments(),
                    *brought,
                ],
            )
            state, cursor, namespace, checkpoint_id, *rows = reply
            if state == b"unread":
                documents = yield from self.indexed_documents(thread)
                read = yield from self.read(thread, dict.fromkeys(documents, 0))
                return (
                    yield from self.plan(
                        thread, policy, read.entries, describe=describe, complete=False
                    )
                )
            if state == b"unsupported":
                result.unsupported = Place(namespace, checkpoint_id)
                return result
            result.checkpoints += yield from self._decisions(thread, rows, describe)
            if not cursor:
                return result

    def _decisions(
        self, thread: bytes, rows: Sequence[Sequence[bytes]], describe: bool
    ) -> Operation[list[Decision]]:
        """What `plan.lua` has decided, with what it costs."""
        asked = [(ns, id, deleted) for ns, id, _, deleted in rows if deleted or describe]
        found = yield from self._described(thread, asked, describe)
        costs = iter(found)
        return [
            _decision(ns, id, reasons, next(costs) if deleted or describe else (0, 0))
            for ns, id, reasons, deleted in rows
        ]

    def _described(
        self, thread: bytes, checkpoints: Sequence[tuple[bytes, bytes, bytes]], describe: bool
    ) -> Operation[list[Sequence[Any]]]:
        """The rows of `describe.lua`, of which a call brings as many as it has time for."""
        rows: list[Sequence[Any]] = []
        size = _DESCRIBED_PAGE if describe else _PAGE
        while len(rows) < len(checkpoints):
            some = checkpoints[len(rows) : len(rows) + size]
            arguments: list[Argument] = [thread, *self.layout.arguments(), int(describe)]
            arguments += chain.from_iterable(some)
            rows += yield from self.call("describe", [self.index_key(thread)], arguments)
        return rows


def _decision(
    namespace: bytes, checkpoint_id: bytes, reasons: bytes, row: Sequence[Any]
) -> Decision:
    documents, keys, *description = row
    names = tuple(reasons.decode().split(",")) if reasons else ()
    decision = Decision(Place(namespace, checkpoint_id), names, documents, keys)
    if not description:
        return decision
    source, step, made_ms, size = description
    return replace(
        decision,
        source=source.decode("utf-8", "replace") or None,
        step=_number(step),
        made_ms=_number(made_ms),
        size=_number(size),
    )


def _number(text: bytes) -> int | None:
    try:
        return int(float(text))
    except ValueError:
        return None
