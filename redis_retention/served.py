"""The storage formats that a program serves, an engine for each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from redis_retention.engine import (
    DEFAULT_GRACE_MS,
    DEFAULT_KEYS_PER_CALL,
    DEFAULT_MAX_STALL_MS,
    DEFAULT_PREFIX,
    Engine,
)
from redis_retention.layouts import LangGraphRedis
from redis_retention.layouts.names import AUTO, LayoutChoice, Prefixes, chosen
from redis_retention.policies import Policies

DEFAULT_GRACE = timedelta(milliseconds=DEFAULT_GRACE_MS)
DEFAULT_MAX_STALL = timedelta(milliseconds=DEFAULT_MAX_STALL_MS)
_MILLISECOND = timedelta(milliseconds=1)


class Served:
    """The engines of the formats that are served.

    The first one is asked first, and its lease and its time of the last sweep are those of all.

    Args:
        engines: The engines.
        policies: The stored policies.
        auto: Only what there is in the database is served.

    Attributes:
        engines: The engines.
        auto: Only what there is in the database is served.
        policies: The stored policies, which all formats share.
        forbidden: Engines whose keys the user in Redis may not look at.
    """

    def __init__(self, engines: Sequence[Engine], policies: Policies, *, auto: bool) -> None:
        self.engines = tuple(engines)
        self.policies = policies
        self.auto = auto
        self.forbidden: set[Engine] = set()

    @classmethod
    def of(cls, engine: Engine) -> Served:
        """One format."""
        return cls([engine], Policies(engine.layout, engine.prefix), auto=False)

    @classmethod
    def chosen(
        cls,
        choice: LayoutChoice = AUTO,
        prefixes: Prefixes | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        max_stall: timedelta | None = DEFAULT_MAX_STALL,
        grace: timedelta = DEFAULT_GRACE,
        estimate_memory: bool = False,
    ) -> Served:
        """The formats of a choice.

        Args:
            choice: Which formats.
            prefixes: What the keys of the savers begin with.
            prefix: What all keys of our own begin with.
            keys_per_call: Keys that one call may delete at most.
            max_stall: For how long a call of a trim is to hold the server up; None for as long as
                it takes to delete `keys_per_call`.
            grace: How long a leaf is retained.
            estimate_memory: Estimate the memory that trims free.

        Raises:
            UnknownLayout: A name is none of a format.
            ValueError: Another argument means nothing.
        """
        prefixes = prefixes or Prefixes()
        layouts, auto = chosen(choice, prefixes)
        engines = [
            Engine(
                layout,
                prefix=prefix,
                keys_per_call=keys_per_call,
                max_stall_ms=None if max_stall is None else max_stall / _MILLISECOND,
                estimate_memory=estimate_memory,
                grace_ms=grace // _MILLISECOND,
            )
            for layout in layouts
        ]
        # Also where RedisSaver is not served: whatever is served, there is one set of policies.
        python = LangGraphRedis(prefixes.checkpoint, prefixes.write)
        return cls(engines, Policies(python, prefix), auto=auto)

    @property
    def first(self) -> Engine:
        """The engine that is asked first."""
        return self.engines[0]
