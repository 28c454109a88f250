"""What bodies and parameters of requests may say; they are checked by it, and OpenAPI shows it."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from redis_retention.operations.named import LookIn
from redis_retention.policy import Policy, stated_policy
from redis_retention.wording import SPAN_PATTERN, read_span


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _checked(span: str) -> str:
    read_span(span)
    return span


Count = Annotated[int, Field(ge=1, le=2**53)]
Span = Annotated[str, Field(pattern=SPAN_PATTERN, examples=["7d"]), AfterValidator(_checked)]


class PolicyWords(_Sent):
    """What to keep, in the words of the command line; times are like ``12h`` or ``7d``."""

    keep_last: Count | None = None
    """Keep the newest N checkpoints."""
    keep_within: Span | None = None
    """Keep what is younger."""
    keep_runs: Count | None = None
    """Keep the final checkpoint of each of the newest N runs."""
    expire_threads_after: Span | None = None
    """Delete threads in which nothing has happened for so long."""
    expire_waiting: bool = False
    """Let threads expire also while they wait for a human."""

    def policy(self) -> Policy | None:
        """The policy; None when nothing is said.

        Raises:
            ValueError: It would mean nothing.
        """
        within, after = self.keep_within, self.expire_threads_after
        return stated_policy(
            keep_last=self.keep_last,
            keep_within=None if within is None else read_span(within),
            keep_runs=self.keep_runs,
            expire_after=None if after is None else read_span(after),
            expire_waiting=self.expire_waiting,
        )


class PlanWords(PolicyWords):
    """What to keep, and where to look."""

    look_in: LookIn = "auto"
    """Where to look for the thread's keys."""


class Trim(_Sent):
    """How to trim a thread."""

    policy: PolicyWords | None = None
    """What to keep; if it is not given, the stored policies decide."""
    dry_run: bool = False
    """Change nothing, and say what would be deleted."""
    look_in: LookIn = "auto"
    """Where to look for the thread's keys."""


class Sweep(_Sent):
    """How to trim all threads."""

    policy: PolicyWords | None = None
    """What to keep; if it is not given, the stored policies decide."""
    trigger: Count | None = None
    """Only threads with more checkpoints than this."""
    match: str = "*"
    """A glob: only threads whose ids match it."""
    dry_run: bool = False
    """Change nothing, and say what would be deleted."""


class StoredPolicy(_Sent):
    """A policy to store."""

    policy: PolicyWords
    """What to keep."""
    trigger: Count | None = None
    """Let the automatic trims fire when there are more checkpoints than this."""


class Note(_Sent):
    """What to note with a pin."""

    note: Annotated[str, Field(max_length=1000)] = ""
    """Why it is to be kept."""
