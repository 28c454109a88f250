"""A job for a scheduler: one sweep, unless somebody else is sweeping just now.

The lease is that of the daemon (`redis-retention run`) and of `POST /api/cleanup/all`, so that jobs
which overlap, on any machine, do not sweep beside each other. A Redis is expected at ``REDIS_URL``.
"""

import os
import sys

from redis import Redis

from redis_retention import LeaseTaken, Policy, Retention


def main() -> int:
    """Sweep once; the exit code is 1 when some threads could not be trimmed."""
    with Redis.from_url(os.environ.get("REDIS_URL", "redis://localhost:6379")) as client:
        try:
            result = Retention(client).sweep(Policy(keep_last=10), alone=True)
        except LeaseTaken:
            print("Somebody else is sweeping.")
            return 0
    print(f"Checkpoints deleted: {result.checkpoints_deleted} of {result.threads} threads")
    for thread in result.left_alone:
        print(f"Left alone: {thread.thread!r}: {thread.reason}", file=sys.stderr)
    return 1 if result.threads_refused else 0


if __name__ == "__main__":
    sys.exit(main())
