"""What `Retention` and `AsyncRetention` do, in all storage formats that are served."""

from redis_retention.operations.operations import Operations

__all__ = ["Operations"]
