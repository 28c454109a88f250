"""Savers that keep their own threads short, for those who run no service.

>>> from redis_retention import Policy
>>> from redis_retention.langgraph import RetentionRedisSaver
>>> with RetentionRedisSaver.from_conn_string(
...     "redis://localhost:6379", retention=Policy(keep_last=10), trigger=30
... ) as saver:  # doctest: +SKIP
...     graph = builder.compile(checkpointer=saver)
"""

try:
    import langgraph.checkpoint.redis as _  # noqa: F401
except ImportError as error:
    raise ImportError(
        "redis_retention.langgraph needs langgraph-checkpoint-redis: "
        "pip install 'redis-retention[langgraph]'"
    ) from error

from redis_retention.langgraph.aio import AsyncRetentionRedisSaver
from redis_retention.langgraph.saver import RetentionRedisSaver
from redis_retention.langgraph.threads import KeptCheckpoint
from redis_retention.langgraph.trimmer import Mode, OnError, TrimCounts
from redis_retention.langgraph.wrapping import with_retention

__all__ = [
    "AsyncRetentionRedisSaver",
    "KeptCheckpoint",
    "Mode",
    "OnError",
    "RetentionRedisSaver",
    "TrimCounts",
    "with_retention",
]
