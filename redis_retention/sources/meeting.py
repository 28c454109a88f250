"""A short look at a database: of which storage formats there is something."""

from __future__ import annotations

from redis_retention.engine import Engine
from redis_retention.sans_io import Nodes, Operation, command
from redis_retention.served import Served
from redis_retention.sources.sweep.others import Others

_PAGES = 10
_KEYS_PER_PAGE = 1000


def meet(served: Served, pages: int = _PAGES) -> Operation[set[Engine]]:
    """The formats of which some of the database's keys are, which need not be all.

    Args:
        served: The formats.
        pages: How many pages of the database to look at, of each node.
    """
    others = Others(served.engines)
    for node in (yield Nodes()):
        cursor = 0
        for _ in range(pages):
            reply = yield from command("SCAN", cursor, "COUNT", _KEYS_PER_PAGE, node=node)
            cursor = int(reply[0])
            for key in reply[1]:
                others.own(key)
            yield from others.ask()
            if not cursor:
                break
    return others.met
