"""A plan: what a trim would do to each checkpoint of a thread, described for people."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone

from redis_retention.engine import Judged, Verdict, reason_left_alone


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
        size: Bytes of memory of its document and writes; None where the server does not tell.
        reasons: Why it stays; empty when it goes.
        keys: Keys that go with it.
    """

    namespace: str
    checkpoint_id: str
    created: datetime | None
    source: str | None
    step: int | None
    size: int | None
    reasons: tuple[str, ...]
    keys: int

    @property
    def kept(self) -> bool:
        """Whether it stays."""
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
        left_alone: Why the whole thread would be left alone, None when it would not.
    """

    thread: str
    checkpoints: list[PlannedCheckpoint] = field(default_factory=list)
    left_alone: str | None = None

    @property
    def kept(self) -> list[PlannedCheckpoint]:
        """The checkpoints that stay."""
        return [checkpoint for checkpoint in self.checkpoints if checkpoint.kept]

    @property
    def deleted(self) -> list[PlannedCheckpoint]:
        """The checkpoints that go."""
        return [checkpoint for checkpoint in self.checkpoints if not checkpoint.kept]

    @property
    def bytes_deleted(self) -> int | None:
        """Memory of what goes, None where the server does not tell."""
        sizes = [checkpoint.size for checkpoint in self.deleted]
        return None if None in sizes else sum(size or 0 for size in sizes)


def planned(thread: bytes, judged: Judged) -> Plan:
    """A plan from described verdicts."""
    checkpoints = [_described(verdict) for verdict in judged.verdicts]
    why = None if judged.unjudged is None else reason_left_alone(judged.unjudged)
    return Plan(_text(thread), checkpoints, why)


def _described(verdict: Verdict) -> PlannedCheckpoint:
    told = verdict.description
    return PlannedCheckpoint(
        namespace=_text(verdict.place.namespace),
        checkpoint_id=_text(verdict.place.checkpoint_id),
        created=_time(told.made_ms) if told else None,
        source=told.source if told else None,
        step=told.step if told else None,
        size=told.size if told else None,
        reasons=verdict.reasons,
        keys=verdict.keys,
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
