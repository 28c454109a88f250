"""Keeps LangGraph's checkpoints in Redis from growing without end.

>>> from redis import Redis
>>> from redis_retention import Policy, Retention
>>> retention = Retention(Redis())
>>> retention.trim("my-thread", Policy(keep_last=10))  # doctest: +SKIP
"""

from redis_retention.engine import Place, Rule
from redis_retention.errors import RetentionError
from redis_retention.lease import LeaseTaken
from redis_retention.operations.choice import NoPolicy
from redis_retention.operations.named import LookIn
from redis_retention.operations.pins import Pin
from redis_retention.operations.plan import Plan, PlannedCheckpoint
from redis_retention.operations.stats import Stats, ThreadSize
from redis_retention.policy import InvalidPolicy, Policy
from redis_retention.results import LeftAlone, ScanProgress, TrimResult
from redis_retention.retention import AsyncRetention, Retention
from redis_retention.stopping import Stopped

__version__ = "0.1.0"

__all__ = [
    "AsyncRetention",
    "InvalidPolicy",
    "LeaseTaken",
    "LeftAlone",
    "LookIn",
    "NoPolicy",
    "Pin",
    "Place",
    "Plan",
    "PlannedCheckpoint",
    "Policy",
    "Retention",
    "RetentionError",
    "Rule",
    "ScanProgress",
    "Stats",
    "Stopped",
    "ThreadSize",
    "TrimResult",
    "__version__",
]
