"""Random threads of LangGraph.js, their blobs among them, against a model in plain Python.

Each history is written twice, to a thread that is trimmed and to one that never is. What the model
retains, and nothing else, must be there after each trim, and must read as in the other thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import hypothesis.strategies as st
import redis
from hypothesis import HealthCheck, Phase, given, settings

from redis_retention import Policy
from tests.langgraph_js.cleaning import dry_run, sweep, trim, trim_by_index
from tests.langgraph_js.documents import (
    Versions,
    blobs,
    checkpoint_key,
    put_blobs,
    put_document,
    put_writes,
    readings,
)
from tests.model.threads import uuid6_at

TRIMMED, CONTROL = "a", "b"
MEMORY = "memory"
CHANNELS = ("log", "profile", "branch:to:node")
_HOURS_AGO = 9 * 3600.0


class Place(NamedTuple):
    ns: str
    id: str


class Blob(NamedTuple):
    ns: str
    channel: str
    version: int


@dataclass
class Checkpoint:
    """A checkpoint of the model: what it names, and the root that has started its namespace."""

    versions: Versions
    root: str | None = None


@dataclass
class Model:
    """A thread: what exists, and what must be left of it."""

    checkpoints: dict[Place, Checkpoint] = field(default_factory=dict)
    # The checkpoint that has written each blob last.
    blobs: dict[Blob, Place] = field(default_factory=dict)
    deleted: set[Place] = field(default_factory=set)
    # Checkpoints whose ids say that they may still be on their way, if there is no document.
    young: set[Place] = field(default_factory=set)

    def newest(self, ns: str, count: int) -> set[Place]:
        of_namespace = sorted(place for place in self.checkpoints if place.ns == ns)
        return set(of_namespace[-count:])

    def retained(self, keep_last: int) -> set[Place]:
        """The newest of each independent namespace, and invocations with their root."""
        retained = self.newest("", keep_last) | self.newest(MEMORY, keep_last)
        roots = {place.id for place in retained if place.ns == ""}
        return retained | {place for place, one in self.checkpoints.items() if one.root in roots}

    def trim(self, keep_last: int, *, by_look: bool) -> None:
        """Delete what the rules give up, and the blobs that nobody needs then."""
        deleted = self.keep(self.retained(keep_last))
        # A look knows what was there a moment ago.
        self._trim_blobs(self.young - deleted if by_look else self.young)

    def keep(self, retained: set[Place]) -> set[Place]:
        """Keep these checkpoints; the others are answered."""
        deleted = self.checkpoints.keys() - retained
        self.deleted |= deleted
        self.checkpoints = {place: self.checkpoints[place] for place in retained}
        return deleted

    def _trim_blobs(self, perhaps_on_their_way: set[Place]) -> None:
        """A blob is retained while something names it, or its writer may be on its way."""
        named = {
            Blob(place.ns, channel, version)
            for place, one in self.checkpoints.items()
            for channel, version in one.versions.items()
        }
        self.blobs = {
            blob: writer
            for blob, writer in self.blobs.items()
            if blob in named or writer in perhaps_on_their_way
        }


class History:
    """Writes both threads, and the model."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.model = Model()
        # Their blobs may be gone: they are to be deleted once more.
        self.come_back_late: set[Place] = set()
        self._ids = 0
        self._invocations = 0

    def new_id(self) -> str:
        self._ids += 1
        return uuid6_at(time.time() - _HOURS_AGO + self._ids, self._ids)

    def put(
        self,
        parent: Place | None,
        ns: str,
        channels: tuple[str, ...],
        *,
        root: str | None = None,
        between: Any = None,
    ) -> None:
        """Put a checkpoint, and do something between its blobs and its document."""
        before = {} if parent is None else self.model.checkpoints[parent].versions
        version = max(before.values(), default=0) + 1
        versions = {**before, **dict.fromkeys(channels, version)}
        # What has no document yet is young, so that nothing speaks for its being an orphan.
        place = Place(ns, self.new_id() if between is None else self._young_id())
        values = {channel: f"{channel} of {place.id}" for channel in channels}
        metadata = {} if root is None else {"parents": {"": root}}
        for thread in (TRIMMED, CONTROL):
            put_blobs(self.client, thread, place.id, values, versions, ns=ns)
        self.model.blobs |= {Blob(ns, channel, version): place for channel in channels}
        if between is not None:
            self.model.young.add(place)
            between()
        for thread in (TRIMMED, CONTROL):
            put_document(
                self.client,
                thread,
                place.id,
                values,
                versions,
                ns=ns,
                parent=None if parent is None else parent.id,
                metadata=metadata,
            )
            put_writes(self.client, thread, place.id, ns=ns)
        self.model.checkpoints[place] = Checkpoint(versions, root)

    def _young_id(self) -> str:
        self._ids += 1
        return uuid6_at(time.time() - 100 + self._ids, self._ids)

    def invocation(self, root: str) -> None:
        """A subgraph of two checkpoints, started from a root checkpoint."""
        self._invocations += 1
        ns = f"sub:00000000-0000-5000-8000-{self._invocations:012}"
        self.put(None, ns, ("log",), root=root)
        [first] = self.model.newest(ns, 1)
        self.put(first, ns, ("profile",), root=root)

    def come_back(self, place: Place) -> None:
        """A late `putWrites` that has read a document before it was deleted."""
        found: Any = self.client.json().get(checkpoint_key(CONTROL, place.ns, place.id))
        found["thread_id"] = TRIMMED
        self.client.json().set(checkpoint_key(TRIMMED, place.ns, place.id), "$", found)
        put_writes(self.client, TRIMMED, place.id, ns=place.ns)
        versions = found["checkpoint"]["channel_versions"]
        root = found["metadata"]["parents"].get("")
        self.model.checkpoints[place] = Checkpoint(versions, root)
        self.model.deleted.discard(place)
        self.come_back_late.add(place)

    def trim(self, how: str, keep_last: int) -> None:
        policy = Policy(keep_last=keep_last)
        if how == "index":
            trim_by_index(self.client, policy, TRIMMED)
        elif how == "sweep":
            sweep(self.client, policy, TRIMMED)
        else:
            counted = dry_run(self.client, policy, TRIMMED)
            assert counted == trim(self.client, policy, TRIMMED)
        read, control = readings(self.client, TRIMMED), readings(self.client, CONTROL)
        there = {Place(*place) for place in read}
        if how == "index":
            # What the index does not know is retained, and blobs are.
            assert self.model.retained(keep_last) <= there <= self.model.checkpoints.keys()
            self.model.keep(there)
        else:
            self.model.trim(keep_last, by_look=how == "look")
            assert there == self.model.checkpoints.keys()
        assert self._blobs() == set(self.model.blobs)
        whole = there - self.come_back_late
        assert {place: read[place] for place in whole} == {p: control[p] for p in whole}

    def _blobs(self) -> set[Blob]:
        found = set()
        for name in blobs(self.client):
            if name.startswith(f"{TRIMMED}:"):
                rest, _, version = name.removeprefix(f"{TRIMMED}:").rpartition(":")
                channel = next(one for one in CHANNELS if rest.endswith(f":{one}"))
                found.add(Blob(rest.removesuffix(f":{channel}"), channel, int(version)))
        return found


# A failure is not made smaller: each attempt takes a second.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
KEEP = st.integers(1, 3)
HOW = st.sampled_from(["look", "sweep", "index"])
SOME = st.sets(st.sampled_from(CHANNELS), min_size=1).map(lambda some: tuple(sorted(some)))


@given(st.data())
@settings(max_examples=20, phases=PHASES, suppress_health_check=list(HealthCheck))
def test_what_is_retained_reads_as_if_nothing_had_been_trimmed(
    stack: redis.Redis, data: st.DataObject
) -> None:
    stack.flushall()
    history = History(stack)
    model = history.model
    for _ in range(data.draw(st.integers(4, 14), label="turns")):
        places = sorted(model.checkpoints)
        roots = [place for place in places if place.ns == ""]
        turn = data.draw(
            st.sampled_from(["go on", "fork", "memory", "invocation", "overlap", "back", "trim"])
        )
        if turn == "go on":
            history.put(roots[-1] if roots else None, "", data.draw(SOME))
        elif turn == "fork" and roots:
            parents = [place for place in roots if place not in history.come_back_late]
            history.put(data.draw(st.sampled_from(parents)), "", data.draw(SOME))
        elif turn == "memory":
            newest = sorted(model.newest(MEMORY, 1))
            history.put(newest[0] if newest else None, MEMORY, data.draw(SOME))
        elif turn == "invocation" and roots:
            history.invocation(roots[-1].id)
        elif turn == "overlap" and roots:
            trim_meanwhile = partial(history.trim, data.draw(HOW), data.draw(KEEP))
            history.put(roots[-1], "", data.draw(SOME), between=trim_meanwhile)
        elif turn == "back" and model.deleted:
            history.come_back(data.draw(st.sampled_from(sorted(model.deleted))))
        elif turn == "trim":
            history.trim(data.draw(HOW), data.draw(KEEP))
    history.trim("sweep", 1)
