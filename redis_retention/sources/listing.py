"""Finds the threads of formats that list their checkpoints by themselves, by the names of keys."""

from __future__ import annotations

from collections.abc import Iterable

from redis_retention.engine import Engine
from redis_retention.layouts import LONGEST_KEY


def threads_of(engine: Engine, keys: Iterable[bytes]) -> set[bytes]:
    """The threads whose lists may be among keys, which may be any in the database.

    Args:
        engine: Knows the format, and which keys are our own.
        keys: What is too long to be looked at is passed over.
    """
    own, root_key = engine.prefix.encode(), engine.layout.root_key
    roots = (root_key(key) for key in keys if len(key) <= LONGEST_KEY and not key.startswith(own))
    return {root.thread for root in roots if root is not None}
