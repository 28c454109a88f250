"""The decision as rows: what a trim would do to each checkpoint, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from redis_retention.engine.index import IndexCalls
from redis_retention.engine.results import Decision, Decisions, Place
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation

_PAGE = 500
_DESCRIBED_PAGE = 100


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
        cursor = b""
        while True:
            reply = yield from self.call(
                "plan",
                [self.index_key(thread), self.pins_key(thread)],
                [
                    thread,
                    *self.layout.arguments(),
                    cursor,
                    _DESCRIBED_PAGE if describe else _PAGE,
                    self.grace_ms,
                    *policy.arguments(),
                    int(describe),
                    *([0] if entries is None else [1 if complete else 2, *entries]),
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
            result.checkpoints.extend(_decision(row) for row in rows)
            if not cursor:
                return result


def _decision(row: Sequence[Any]) -> Decision:
    namespace, checkpoint_id, reasons, documents, keys, *description = row
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
