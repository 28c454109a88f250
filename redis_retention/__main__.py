"""``python -m redis_retention``: the command line."""

from redis_retention.cli import main

main()
