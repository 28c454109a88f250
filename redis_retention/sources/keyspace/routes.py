"""To which storage format an event goes: one subscription serves all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from redis_retention.engine import Engine
from redis_retention.layouts import Events, Family
from redis_retention.layouts.layout import all_events
from redis_retention.sources.keyspace.inbox import CHANGES, Change, Inbox
from redis_retention.sources.keyspace.tracking import Tracker


@dataclass(slots=True)
class Route:
    """What is done with the documents of one format.

    Attributes:
        engine: The format's.
        tracker: What works them off.
        inbox: Where they wait.
        met: There is something of the format in the database.
        starts: What the names of documents begin with.
        changes: What events say.
    """

    engine: Engine
    tracker: Tracker
    inbox: Inbox
    met: bool
    starts: tuple[bytes, ...] = field(init=False)
    changes: dict[bytes, Change] = field(init=False)

    def __post_init__(self) -> None:
        """Ask the layout."""
        layout = self.engine.layout
        families = layout.families().items()
        self.starts = tuple(start for start, family in families if family is Family.CHECKPOINT)
        self.changes = {**CHANGES, **dict.fromkeys(layout.events.written, Change.WRITTEN)}


class Routes:
    """The routes of all formats.

    Args:
        routes: One for each.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.all = list(routes)

    def of(self, key: bytes, event: bytes) -> list[tuple[Route, Change]]:
        """Whose document a key may be, by its name and by what has happened to it.

        Names that may be several formats' go to those of which something is known to be there.
        """
        found = [
            (route, change)
            for route in self.all
            if key.startswith(route.starts) and (change := route.changes.get(event)) is not None
        ]
        if len(found) < 2:
            return found
        for route, change in found:
            root = route.engine.layout.root_key(key)
            if root is not None and root.certain:
                route.met = True
                return [(route, change)]
        return [one for one in found if one[0].met]

    def patterns(self, channel: str) -> set[str]:
        """Patterns of channels for the documents of formats of which there is something.

        Args:
            channel: What the names of channels begin with.
        """
        starts = {start for route in self._met() for start in route.starts}
        # No start begins with another one.
        wanted = (one for one in starts if not one.startswith(tuple(starts - {one})))
        return {f"{channel}{_escaped(one)}*" for one in wanted}

    def events(self) -> Events:
        """The events that tell of documents, as far as there is something of their formats."""
        return all_events([route.engine.layout for route in self._met()])

    def listened(self) -> list[Engine]:
        """The formats to which these patterns and events belong."""
        return [route.engine for route in self._met()]

    def _met(self) -> list[Route]:
        return [route for route in self.all if route.met] or self.all[:1]

    def meet(self, engine: Engine) -> bool:
        """Take in that there is something of a format; whether that is new."""
        for route in self.all:
            if route.engine is engine and not route.met:
                route.met = True
                return True
        return False

    def leave_out(self, engine: Engine) -> None:
        """Take in that there can be nothing of a format."""
        for route in self.all:
            if route.engine is engine:
                route.met = False


def _escaped(start: bytes) -> str:
    """Text that a pattern takes literally. An ACL rule must say it in the same way."""
    return re.sub(r"([*?\[\\])", r"\\\1", start.decode("utf-8", "surrogateescape"))
