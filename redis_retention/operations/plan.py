"""A plan: what a trim would do to each checkpoint of a thread, described for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from redis_retention.engine import Decision, Decisions, unsupported_reason

REASONS = {
    "last": "among the newest, as --keep-last says",
    "within": "young enough for --keep-within",
    "run": "the end of a run, as --keep-runs says",
    "pinned": "pinned, until it is unpinned",
    "all": "nothing is deleted until the thread expires",
    "latest": "LangGraph resumes from it",
    "delta": "a retained checkpoint is replayed from it",
    "sends": "the one after it takes its pending sends from it",
    "invocation": "of a subgraph whose root checkpoint is retained",
    "unclear": "its part of the thread is not known well enough to delete it",
    "recent": "no checkpoint follows it yet, and the grace period is not over",
    "ahead": "it descends from the latest checkpoint, and may become the latest",
    "idle": "its thread was just found idle, and expires after the grace period",
}
"""Why a checkpoint is retained, in words."""


@dataclass(frozen=True, slots=True)
class PlannedCheckpoint:
    """One checkpoint of a plan.

    Attributes:
        namespace: ``""`` for the graph itself, else the subgraph's.
        checkpoint_id: Its id.
        created: When it was made, by the time in its id or else the document; None when neither
            says.
        source: ``input``, ``loop``, ``update`` or ``fork``, as LangGraph calls it.
        step: Its superstep.
        size: Bytes of memory of its document and writes; None where that is not permitted.
        reasons: Why it is retained; empty when it is deleted.
        keys: Keys that are deleted with it.
        layout: In which storage format it is.
    """

    namespace: str
    checkpoint_id: str
    created: datetime | None
    source: str | None
    step: int | None
    size: int | None
    reasons: tuple[str, ...]
    keys: int
    layout: str

    @property
    def kept(self) -> bool:
        """Whether it is retained."""
        return bool(self.reasons)

    def age_seconds(self, now: datetime) -> float | None:
        """How long ago it was made, None where that is not known."""
        return None if self.created is None else (now - self.created).total_seconds()


@dataclass(slots=True)
class Plan:
    """What a trim would do to one thread.

    Attributes:
        thread: The thread id.
        checkpoints: Oldest first in each namespace, the graph itself first.
        left_alone: Why the whole thread would be left alone, in one storage format at least; None
            when it would not.
    """

    thread: str
    checkpoints: list[PlannedCheckpoint] = field(default_factory=list)
    left_alone: str | None = None

    @property
    def kept(self) -> list[PlannedCheckpoint]:
        """The checkpoints that are retained."""
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.kept]

    @property
    def deleted(self) -> list[PlannedCheckpoint]:
        """The checkpoints that are deleted."""
        return [checkpoint for checkpoint in self.checkpoints if not checkpoint.kept]

    @property
    def layouts(self) -> list[str]:
        """The storage formats in which it has checkpoints."""
        return list(dict.fromkeys(checkpoint.layout for checkpoint in self.checkpoints))

    @property
    def bytes_deleted(self) -> int | None:
        """Memory of what is deleted, None where MEMORY USAGE is not permitted."""
        sizes = [checkpoint.size for checkpoint in self.deleted]
        return None if None in sizes else sum(size or 0 for size in sizes)


def planned(thread: bytes, decisions: Mapping[str, Decisions]) -> Plan:
    """A plan from described decisions.

    Args:
        thread: The thread as it stands in the keys.
        decisions: What was decided in each storage format.
    """
    checkpoints = [
        _planned(layout, decision)
        for layout, decided in decisions.items()
        for decision in decided.checkpoints
    ]
    unsupported = {
        layout: unsupported_reason(decided.unsupported)
        for layout, decided in decisions.items()
        if decided.unsupported is not None
    }
    if len(decisions) == 1 or not unsupported:
        why = next(iter(unsupported.values()), None)
    else:
        why = "; ".join(f"{layout}: {reason}" for layout, reason in unsupported.items())
    return Plan(_text(thread), checkpoints, why)


def _planned(layout: str, decision: Decision) -> PlannedCheckpoint:
    return PlannedCheckpoint(
        namespace=_text(decision.place.namespace),
        checkpoint_id=_text(decision.place.checkpoint_id),
        created=_time(decision.made_ms),
        source=decision.source,
        step=decision.step,
        size=decision.size,
        reasons=decision.reasons,
        keys=decision.keys,
        layout=layout,
    )


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _time(milliseconds: int | None) -> datetime | None:
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    except (OverflowError, OSError, ValueError):
        return None
