"""What `prune` is asked for."""

from __future__ import annotations

from typing import TypedDict

from redis_retention.langgraph.trimmer import log
from redis_retention.logs import fields
from redis_retention.policy import Policy
from redis_retention.results import TrimResult


class PruneOptions(TypedDict, total=False):
    """What `RetentionRedisSaver.prune` takes, which says what each means."""

    strategy: str
    keep_last: int | None
    max_results: int
    policy: Policy | None


def pruning_policy(
    strategy: str = "keep_latest",
    keep_last: int | None = None,
    max_results: int = 0,
    policy: Policy | None = None,
) -> Policy | None:
    """What to keep of a thread; None when it is to be deleted.

    Raises:
        ValueError: The strategy is unknown, or more than one thing is asked for.
    """
    del max_results
    if strategy not in ("keep_latest", "delete"):
        raise ValueError(f"strategy must be keep_latest or delete, not {strategy!r}")
    if policy is not None:
        if strategy == "delete" or keep_last is not None:
            raise ValueError("a policy says all that is kept: give no keep_last and no strategy")
        return policy
    if keep_last is None:
        return None if strategy == "delete" else Policy(keep_last=1)
    return Policy(keep_last=keep_last) if keep_last != 0 else None


def warn_left_alone(result: TrimResult) -> None:
    """Log the threads that were left alone, and why."""
    for left in result.left_alone:
        log.warning("left alone: %s", left.reason, extra=fields(thread=left.thread))
