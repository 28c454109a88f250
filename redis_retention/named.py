"""Trims and plans threads that are named, wherever their keys have to be looked for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias, get_args

from redis_retention.complete import indexes_are_complete
from redis_retention.engine import Decisions, Engine
from redis_retention.policy import Policy
from redis_retention.results import EachThread, ScanProgress
from redis_retention.sans_io import Nodes, Operation, command
from redis_retention.sources import scan, shared_keys
from redis_retention.sources.search import NotSearchable, Search

LookIn: TypeAlias = Literal["auto", "index", "scan"]
"""Where to look for the keys of a thread.

``auto`` trusts our index where a service says that it is complete. Elsewhere it searches for what
that does not know where the saver does, by RediSearch, and looks at the whole database only where
that cannot be; ``scan`` always looks at all of it, which finds
also what no index names; ``index`` trusts our index.
"""

OnScan: TypeAlias = "Callable[[ScanProgress], None] | None"


def look_in_of(look_in: LookIn, indexed_only: bool) -> LookIn:
    """Where to look, from the two options that say it.

    Raises:
        ValueError: They mean nothing, or not the same.
    """
    if look_in not in get_args(LookIn):
        raise ValueError(f"look_in must be auto, index or scan, not {look_in!r}")
    if indexed_only and look_in == "scan":
        raise ValueError('indexed_only means look_in="index", so look_in cannot be "scan"')
    return "index" if indexed_only else look_in


class NamedThreads:
    """What is done with threads that are named.

    Args:
        engine: What trims.
        look_in: Where to look for their keys.
        on_scan: Is called when the whole database has to be scanned, with how far that is.
    """

    def __init__(self, engine: Engine, look_in: LookIn, on_scan: OnScan) -> None:
        self._engine = engine
        # The lists of a format that has some need not be looked for.
        self._look_in = "index" if engine.layout.lists_itself else look_in
        self._on_scan = on_scan

    def trim(self, policies: Mapping[bytes, Policy], each: EachThread) -> Operation[None]:
        """Trim threads, or count what that would delete if the result is a dry run's."""
        if self._look_in == "index":
            for name, policy in policies.items():
                yield from each.add(name, self._trim_indexed(name, policy, each.result.dry_run))
            return
        unsearched, error = policies, None
        if self._look_in == "auto":
            unsearched, error = yield from self._trim_searched(policies, each)
        if unsearched:
            yield from self._trim_scanned(unsearched, each, error)

    def plan(self, name: bytes, policy: Policy) -> Operation[Decisions]:
        """Say what a trim would do to each checkpoint of a thread."""
        if self._look_in == "index":
            yield from self._engine.check_server()
            return (yield from self._engine.plan(name, policy, describe=True))
        if self._look_in == "auto" and (yield from indexes_are_complete(self._engine)):
            decisions = yield from self._engine.plan(name, policy, describe=True)
            if decisions.unsupported is None and decisions.checkpoints:
                return decisions
        found = yield from self._find(name)
        return (yield from scan.plan(self._engine, name, found, policy))

    def _trim_indexed(
        self, name: bytes, policy: Policy, dry_run: bool
    ) -> Operation[scan.ThreadResult]:
        if dry_run:
            return scan.would_be((yield from self._engine.plan(name, policy)))
        return scan.done((yield from self._engine.trim(name, policy)))

    def _trim_searched(
        self, policies: Mapping[bytes, Policy], each: EachThread
    ) -> Operation[tuple[dict[bytes, Policy], NotSearchable | None]]:
        """Trim the threads that can be searched for, and return the others, and why they cannot."""
        search, unsearched, why = Search(self._engine), dict(policies), None
        complete = yield from indexes_are_complete(self._engine)
        for name, policy in policies.items():
            trim = self._trim_complete if complete else Search.trim
            if each.result.dry_run:
                trim = self._dry_run_complete if complete else self._dry_run_searched
            try:
                yield from each.add(name, trim(search, name, policy))
            except NotSearchable as error:
                why = error
                if not error.alone:
                    break
            else:
                del unsearched[name]
        return unsearched, why

    def _trim_complete(
        self, search: Search, name: bytes, policy: Policy
    ) -> Operation[scan.ThreadResult]:
        """Trim a thread by its index, which knows all of it, unless somebody has deleted that."""
        trim = partial(self._engine.trim, name, policy)
        trimmed = yield from self._engine.with_sound_index(name, trim)
        if trimmed.unsupported is None and (trimmed.left or trimmed.deleted.keys):
            return scan.done(trimmed)
        return (yield from search.trim(name, policy))

    def _dry_run_complete(
        self, search: Search, name: bytes, policy: Policy
    ) -> Operation[scan.ThreadResult]:
        decisions = yield from self._engine.plan(name, policy)
        if decisions.unsupported is None and decisions.checkpoints:
            return scan.would_be(decisions)
        return (yield from self._dry_run_searched(search, name, policy))

    def _dry_run_searched(
        self, search: Search, name: bytes, policy: Policy
    ) -> Operation[scan.ThreadResult]:
        found = yield from search.find(name)
        return (yield from scan.dry_run(self._engine, name, found, policy))

    def _trim_scanned(
        self, policies: Mapping[bytes, Policy], each: EachThread, error: NotSearchable | None
    ) -> Operation[None]:
        found = yield from self._scan(policies, error)
        trim = scan.dry_run if each.result.dry_run else shared_keys.trim
        for name, policy in policies.items():
            # What was found of a thread is not needed once it is trimmed.
            yield from each.add(name, trim(self._engine, name, found.pop(name), policy))

    def _find(self, name: bytes) -> Operation[scan.Found]:
        why = None
        if self._look_in == "auto":
            try:
                return (yield from Search(self._engine).find(name))
            except NotSearchable as error:
                why = error
        return (yield from self._scan([name], why))[name]

    def _scan(
        self, names: Collection[bytes], error: NotSearchable | None
    ) -> Operation[dict[bytes, scan.Found]]:
        yield from self._engine.check_server()
        on_scan = self._on_scan
        if on_scan is None:
            return (yield from scan.find(self._engine.layout, names))
        total = 0
        for node in (yield Nodes()):
            total += yield from command("DBSIZE", node=node)
        begun = ScanProgress(0, total, *((error.why, error.mend) if error else ()))
        on_scan(begun)

        def looked_at(keys: int) -> None:
            on_scan(replace(begun, keys=min(keys, total)))

        return (yield from scan.find(self._engine.layout, names, looked_at))
