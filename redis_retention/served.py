"""The storage formats that a program serves, an engine for each."""

from __future__ import annotations

from datetime import timedelta

from redis_retention.engine import DEFAULT_KEYS_PER_CALL, DEFAULT_PREFIX, Engine
from redis_retention.layouts import LangGraphRedis, Layout
from redis_retention.layouts.names import AUTO, LayoutChoice, Prefixes, chosen
from redis_retention.policies import Policies


class Served:
    """The engines of the formats that are served.

    The first one is asked first, and its lease and its time of the last sweep are those of all.

    Args:
        choice: Which formats.
        prefixes: What the keys of the savers begin with.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete.
        grace: How long a leaf is retained.
        estimate_memory: Estimate the memory that trims free.

    Attributes:
        engines: The engines.
        auto: Only what there is in the database is served.
        policies: The stored policies, which all formats share.
        forbidden: Engines whose keys the user in Redis may not look at.

    Raises:
        UnknownLayout: A name is none of a format.
        ValueError: Another argument means nothing.
    """

    def __init__(
        self,
        choice: LayoutChoice = AUTO,
        prefixes: Prefixes | None = None,
        *,
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        grace: timedelta | None = None,
        estimate_memory: bool = False,
    ) -> None:
        prefixes = prefixes or Prefixes()
        layouts, self.auto = chosen(choice, prefixes)
        engines = [
            Engine(
                layout,
                prefix=prefix,
                keys_per_call=keys_per_call,
                estimate_memory=estimate_memory,
                **({} if grace is None else {"grace_ms": grace // timedelta(milliseconds=1)}),
            )
            for layout in layouts
        ]
        self.engines: tuple[Engine, ...] = tuple(engines)
        self.forbidden: set[Engine] = set()
        # Also where RedisSaver is not served: whatever is served, there is one set of policies.
        self.policies = Policies(LangGraphRedis(prefixes.checkpoint, prefixes.write), prefix)

    @property
    def first(self) -> Engine:
        """The engine that is asked first."""
        return self.engines[0]

    def layouts_beside(self, engine: Engine) -> list[Layout]:
        """The formats of the other engines."""
        return [other.layout for other in self.engines if other is not engine]
