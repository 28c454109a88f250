"""What to keep: a checkpoint is retained if any rule keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


class InvalidPolicy(ValueError):
    """A policy that would mean nothing, or would delete everything."""


def _milliseconds(span: timedelta | None) -> int:
    return -1 if span is None else span // timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to keep of each thread.

    What LangGraph needs is retained whatever the policy says (see ``docs/guarantees.md``): the
    newest checkpoint, subgraphs of retained checkpoints, the ancestors of delta channels.

    Attributes:
        keep_last: The newest N checkpoints, of the graph itself and of each stateful subgraph.
            At least 1; None for all, where only whole threads are to expire.
        keep_within: Everything younger than this, by the time in the checkpoint's id.
        keep_runs: The final checkpoint of each of the newest N runs of the graph.
        expire_after: A thread in which nothing has happened for this long is deleted entirely,
            unless it waits for a human or something in it is pinned.
        expire_waiting: Delete a thread also while it waits for a human.

    Raises:
        InvalidPolicy: A number is not a whole number of at least 1, or a time is not positive.
    """

    keep_last: int | None = 1
    keep_within: timedelta | None = None
    keep_runs: int | None = None
    expire_after: timedelta | None = None
    expire_waiting: bool = False

    def __post_init__(self) -> None:
        if self.keep_last is not None:
            _require_count("keep_last", self.keep_last)
        elif self.expire_after is None:
            raise InvalidPolicy("keep_last is None, so that nothing would ever go")
        if self.keep_runs is not None:
            _require_count("keep_runs", self.keep_runs)
        _require_span("keep_within", self.keep_within)
        _require_span("expire_after", self.expire_after)

    def arguments(self) -> list[str | int]:
        """The five values that ``lua/include/policy.lua`` reads."""
        return [
            -1 if self.keep_last is None else self.keep_last,
            _milliseconds(self.keep_within),
            self.keep_runs or 0,
            _milliseconds(self.expire_after),
            int(self.expire_waiting),
        ]


def stated_policy(
    *,
    keep_last: int | None,
    keep_within: timedelta | None,
    keep_runs: int | None,
    expire_after: timedelta | None,
    expire_waiting: bool,
) -> Policy | None:
    """The policy of options of which any may be left out; None when nothing is said.

    Where only whole threads are to expire, everything in the others is retained.

    Raises:
        InvalidPolicy: They would mean nothing.
    """
    keeps = keep_last or keep_within or keep_runs
    if expire_waiting and not expire_after:
        raise InvalidPolicy(
            "--expire-waiting (expire_waiting) goes with --expire-threads-after "
            "(expire_threads_after)"
        )
    if not keeps and not expire_after:
        return None
    return Policy(
        keep_last=(keep_last or 1) if keeps else None,
        keep_within=keep_within,
        keep_runs=keep_runs,
        expire_after=expire_after,
        expire_waiting=expire_waiting,
    )


def _require_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidPolicy(f"{name} must be a whole number of at least 1, not {value!r}")


def _require_span(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, timedelta) or value < timedelta(milliseconds=1):
        raise InvalidPolicy(f"{name} must be a time of at least a millisecond, not {value!r}")
