"""The engine: what can be done to one thread, as operations that any client can run.

It knows the scripts and what they answer. It does not know where keys come from.
"""

from redis_retention.engine.calls import DEFAULT_GRACE_MS, DEFAULT_PREFIX
from redis_retention.engine.decision import DecisionCalls
from redis_retention.engine.deletion import ORPHAN_AGE_MS, DeletionCalls
from redis_retention.engine.index import DOCUMENTS_PER_CALL
from redis_retention.engine.results import (
    CHECKPOINTS,
    UNSUPPORTED,
    Added,
    Decision,
    Decisions,
    Deleted,
    Inspection,
    OrphanGroup,
    Place,
    Rule,
    ThreadDocuments,
    Tracked,
    Trimmed,
    unsupported_reason,
)
from redis_retention.engine.sharing import SharedKeyCalls
from redis_retention.pace import (
    DEFAULT_KEYS_PER_CALL,
    DEFAULT_MAX_STALL_MS,
    LARGEST_KEYS_PER_CALL,
    SMALLEST_KEYS_PER_CALL,
)

__all__ = [
    "CHECKPOINTS",
    "DEFAULT_GRACE_MS",
    "DEFAULT_KEYS_PER_CALL",
    "DEFAULT_MAX_STALL_MS",
    "DEFAULT_PREFIX",
    "DOCUMENTS_PER_CALL",
    "LARGEST_KEYS_PER_CALL",
    "ORPHAN_AGE_MS",
    "SMALLEST_KEYS_PER_CALL",
    "UNSUPPORTED",
    "Added",
    "Decision",
    "Decisions",
    "Deleted",
    "Engine",
    "Inspection",
    "OrphanGroup",
    "Place",
    "Rule",
    "ThreadDocuments",
    "Tracked",
    "Trimmed",
    "unsupported_reason",
]


class Engine(DecisionCalls, DeletionCalls, SharedKeyCalls):
    """Index, plan and trim threads of one saver, and delete their orphans."""
