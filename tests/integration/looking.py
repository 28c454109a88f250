"""Trims that look for their threads in a given way."""

from __future__ import annotations

from typing import Any

import redis

from redis_retention import LookIn, Plan, Retention, TrimResult

WAYS: tuple[LookIn, ...] = ("auto", "scan")
"""How a thread can be found that may not be indexed."""


class Looks(Retention):
    """Looks for threads in one way, if nobody asks for another."""

    def __init__(self, client: redis.Redis, look_in: LookIn, **options: Any) -> None:
        super().__init__(client, **options)
        self._look_in = look_in

    def trim(self, *arguments: Any, **options: Any) -> TrimResult:
        return super().trim(*arguments, **self._where(options))

    def plan(self, *arguments: Any, **options: Any) -> Plan:
        return super().plan(*arguments, **self._where(options))

    def _where(self, options: dict[str, Any]) -> dict[str, Any]:
        return options if options.get("indexed_only") else {"look_in": self._look_in, **options}
