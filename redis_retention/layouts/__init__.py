"""Storage formats: `Layout` says what Python asks of one, and each has a file of its own.

The Lua half of a format is ``lua/layouts/{name}.lua``.
"""

from redis_retention.layouts.langgraph_js import LangGraphJs
from redis_retention.layouts.langgraph_redis import LangGraphRedis
from redis_retention.layouts.langgraphgo import LangGraphGo
from redis_retention.layouts.layout import (
    LONGEST_KEY,
    LONGEST_THREAD,
    Events,
    Family,
    Layout,
    Requirement,
    RootKey,
    SearchIndex,
    start_of,
    too_long,
    too_long_id,
)
from redis_retention.layouts.plainredis import PlainRedis
from redis_retention.layouts.zset import SortedSets

__all__ = [
    "LONGEST_KEY",
    "LONGEST_THREAD",
    "Events",
    "Family",
    "LangGraphGo",
    "LangGraphJs",
    "LangGraphRedis",
    "Layout",
    "PlainRedis",
    "Requirement",
    "RootKey",
    "SearchIndex",
    "SortedSets",
    "start_of",
    "too_long",
    "too_long_id",
]
