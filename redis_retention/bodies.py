"""What programs get: the JSON objects of the command line's ``--json`` and of the HTTP API.

Names from the database are shown as text; bytes that are no UTF-8 become U+FFFD.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timezone
from typing import Any, TypeAlias

from redis_retention import policies
from redis_retention.engine import Rule
from redis_retention.operations.pins import Pin
from redis_retention.operations.plan import Plan, PlannedCheckpoint
from redis_retention.operations.stats import LargeCheckpoint, Stats, ThreadSize
from redis_retention.results import TrimResult

Body: TypeAlias = "dict[str, Any]"


def text(name: bytes) -> str:
    """A name from the database as text."""
    return name.decode("utf-8", "replace")


def of_trim(result: TrimResult) -> Body:
    """What a trim or a sweep did."""
    told = asdict(result)
    # A sweep knows more, which is for the daemon.
    body = {field.name: told[field.name] for field in fields(TrimResult)}
    return {**body, "elapsed_ms": round(result.elapsed_ms, 2)}


# --- plans -----------------------------------------------------------------------------------


def of_plan(made: Plan) -> Body:
    """What a trim would do to a thread."""
    now = datetime.now(timezone.utc)
    return {
        "thread": made.thread,
        "checkpoints": [_of_planned(one, now) for one in made.checkpoints],
        "checkpoints_kept": len(made.kept),
        "checkpoints_deleted": len(made.deleted),
        "keys_deleted": sum(one.keys for one in made.deleted),
        "bytes_deleted": made.bytes_deleted,
        "left_alone": made.left_alone,
        "layouts": made.layouts,
    }


def _of_planned(one: PlannedCheckpoint, now: datetime) -> Body:
    seconds = one.age_seconds(now)
    return {
        "namespace": one.namespace,
        "checkpoint_id": one.checkpoint_id,
        "created": None if one.created is None else one.created.isoformat(timespec="milliseconds"),
        "age_seconds": None if seconds is None else round(seconds, 3),
        "step": one.step,
        "source": one.source,
        "size": one.size,
        "kept": one.kept,
        "reasons": list(one.reasons),
        "keys": one.keys,
        "layout": one.layout,
    }


# --- numbers ---------------------------------------------------------------------------------


def of_stats(found: Stats) -> Body:
    """How much there is; `bytes` are estimates."""
    return {
        "threads": found.threads,
        "checkpoints": found.checkpoints,
        "bytes": found.bytes,
        "bytes_sampled": found.sampled,
        "largest": [of_size(one) for one in found.largest],
        "large_checkpoints": found.large_checkpoints,
        "largest_checkpoints": [_of_large(one) for one in found.largest_checkpoints],
        "layouts": {layout: asdict(one) for layout, one in found.layouts.items()},
    }


def of_size(one: ThreadSize) -> Body:
    """How large one thread is."""
    return {
        "thread": text(one.thread),
        "checkpoints": one.checkpoints,
        "bytes": one.bytes,
        "layout": one.layout,
    }


def _of_large(one: LargeCheckpoint) -> Body:
    return {
        "thread": text(one.thread),
        "checkpoint_id": text(one.checkpoint_id),
        "bytes": one.size,
        "layout": one.layout,
    }


# --- policies --------------------------------------------------------------------------------


def of_rule(rule: Rule) -> Body:
    """A stored policy: all options, times in seconds, null where not given."""
    options = dict.fromkeys(sorted(policies.OPTIONS)) | {"expire_waiting": False}
    return {"pattern": text(rule.pattern), **options, **policies.stated(rule)}


def of_rules(rules: Iterable[Rule]) -> Body:
    """All stored policies."""
    return {"policies": [of_rule(rule) for rule in rules]}


def of_removed_rule(pattern: bytes, removed: bool) -> Body:
    """What became of a stored policy."""
    return {"pattern": text(pattern), "removed": removed}


# --- pins ------------------------------------------------------------------------------------


def of_pinned(thread: bytes, pin: Pin) -> Body:
    """A pin that was just set."""
    return {**_of_place(thread, pin), "note": pin.note, "pinned": True}


def of_unpinned(thread: bytes, pin: Pin, unpinned: bool) -> Body:
    """A pin that was taken away, unless there was none."""
    return {**_of_place(thread, pin), "unpinned": unpinned}


def of_pins(thread: bytes, pinned: Sequence[Pin]) -> Body:
    """The pins of one thread."""
    return {"thread": text(thread), "pins": [_of_pin(one) for one in pinned]}


def of_all_pins(pinned: Mapping[bytes, Sequence[Pin]]) -> Body:
    """The pins of all threads."""
    return {"threads": [of_pins(thread, some) for thread, some in pinned.items()]}


def _of_place(thread: bytes, pin: Pin) -> Body:
    return {
        "thread": text(thread),
        "namespace": pin.namespace,
        "checkpoint_id": pin.checkpoint_id,
    }


def _of_pin(one: Pin) -> Body:
    return {
        "namespace": one.namespace,
        "checkpoint_id": one.checkpoint_id,
        "note": one.note,
        "layout": one.layout,
    }
