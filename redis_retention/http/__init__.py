"""The HTTP API: served by ``redis-retention serve`` and ``run --http``, or within an application.

>>> from redis.asyncio import Redis
>>> from redis_retention import Policy
>>> from redis_retention.http import retention_app
>>> app = retention_app(Redis(), Policy(keep_last=10))  # doctest: +SKIP
"""
