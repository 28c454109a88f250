"""Trims and plans named threads, and decides where to search for their keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias, get_args

from redis_retention.complete import indexes_are_complete
from redis_retention.engine import Decisions, Engine
from redis_retention.errors import ServerLacks
from redis_retention.operations.beside import Beside
from redis_retention.policy import Policy
from redis_retention.results import EachThread, ScanProgress, ThreadResult
from redis_retention.sans_io import Nodes, Operation, command
from redis_retention.served import Served
from redis_retention.sources import one_thread, scan, shared_keys
from redis_retention.sources.search import Search
from redis_retention.sources.search_index import NotSearchable

LookIn: TypeAlias = Literal["auto", "index", "scan"]
"""Where to look for the keys of a thread.

``auto`` trusts our index where a service says that it is complete. Elsewhere it searches for what
that does not know where the saver does, by RediSearch, and looks at the whole database only where
that cannot be; ``scan`` always looks at all of it, which finds
also what no index names; ``index`` trusts our index.
"""

OnScan: TypeAlias = "Callable[[ScanProgress], None] | None"
Policies: TypeAlias = "Mapping[bytes, Policy]"


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
    """What is done with threads that are named; each has one name in all formats.

    Of the formats that are served by themselves, the first is asked for each thread. The others are
    asked for those threads of which there is something in them, as far as the first can tell.

    Args:
        served: What trims.
        look_in: Where to look for their keys.
        on_scan: Is called when the whole database has to be scanned, with how far that is.
    """

    def __init__(self, served: Served, look_in: LookIn, on_scan: OnScan) -> None:
        self._served = served
        self._look_in = look_in
        self._on_scan = on_scan
        self._beside = Beside(served)
        # Threads for which the first format could not be asked.
        self._unasked: set[bytes] = set()
        self._scanned: dict[Engine, dict[bytes, one_thread.Found]] = {}
        self._lacking: ServerLacks | None = None

    def trim(
        self, policies: Mapping[Engine, Policies], each: Mapping[Engine, EachThread]
    ) -> Operation[None]:
        """Trim threads, or count what that would delete if the results are a dry run's.

        Args:
            policies: What to keep of which thread, in each format.
            each: Where to count what is done in each format.

        Raises:
            ServerLacks: The server can hold none of the formats.
        """
        for engine in self._served.engines:
            wanted = self._wanted(engine, policies)
            yield from self._trim(engine, wanted, policies, each[engine])
        self._refuse_if_lacking(any(one.threads for one in each.values()))

    def plan(self, policies: Mapping[Engine, Policies]) -> Operation[dict[Engine, Decisions]]:
        """Say what a trim would do to each checkpoint of the one thread that has policies.

        Raises:
            ServerLacks: The server can hold none of the formats.
        """
        found: dict[Engine, Decisions] = {}
        for engine in self._served.engines:
            for name, policy in self._wanted(engine, policies).items():
                decisions = yield from self._plan(engine, name, policy, policies)
                if decisions is not None:
                    found[engine] = decisions
        self._refuse_if_lacking(any(one.checkpoints for one in found.values()))
        return found

    def _look_in_of(self, engine: Engine) -> LookIn:
        """Where to look for the keys of a format: lists of its own need no search."""
        return "index" if engine.layout.lists_itself else self._look_in

    # --- which formats --------------------------------------------------------------------------

    def _wanted(self, engine: Engine, policies: Mapping[Engine, Policies]) -> dict[bytes, Policy]:
        """The threads for which a format is to be asked."""
        wanted = dict(policies[engine])
        if not self._served.auto or engine is self._served.first:
            return wanted
        scanned, asked = self._scanned.get(engine, {}), policies[self._served.first]
        return {
            name: policy
            for name, policy in wanted.items()
            # A stored policy may count for some formats only.
            if name not in asked
            or self._beside.has(engine, name)
            or name in self._unasked
            or (name in scanned and not scanned[name].empty)
        }

    def _asking(self, engine: Engine) -> Engine:
        """An engine that learns of the other formats while it works."""
        if not self._served.auto or engine is not self._served.first:
            return engine
        return engine.asking(self._beside)

    def _refuse_if_lacking(self, found: bool) -> None:
        """What the server lacks is of no importance while there is something that needs none."""
        if self._lacking is not None and not found:
            raise self._lacking

    # --- trims ----------------------------------------------------------------------------------

    def _trim(
        self,
        engine: Engine,
        wanted: Policies,
        policies: Mapping[Engine, Policies],
        each: EachThread,
    ) -> Operation[None]:
        look_in = self._look_in_of(engine)
        if look_in == "index":
            for name, policy in wanted.items():
                yield from each.add(name, self._trim_indexed(engine, name, policy, each))
            return
        unsearched, error = dict(wanted), None
        # What was found for another format is there already.
        if look_in == "auto" and not self._scanned.get(engine, {}).keys() >= wanted.keys():
            unsearched, error = yield from self._trim_searched(engine, unsearched, each)
        if unsearched and (yield from self._scan(engine, unsearched.keys(), policies, error)):
            asking = self._asking(engine)
            trims = shared_keys.Trims(asking)
            for name, policy in unsearched.items():
                # What was found of a thread is not needed once it is trimmed.
                found = self._scanned[engine].pop(name)
                if each.result.dry_run:
                    operation = one_thread.dry_run(asking, name, found, policy)
                else:
                    operation = trims.trim(name, found, policy)
                yield from each.add(name, operation)
            for name, deleted in (yield from trims.finish()).items():
                each.add_keys(name, deleted)

    def _trim_indexed(
        self, engine: Engine, name: bytes, policy: Policy, each: EachThread
    ) -> Operation[ThreadResult]:
        asking = self._asking(engine)
        if each.result.dry_run:
            return one_thread.would_be((yield from asking.plan(name, policy)))
        return one_thread.done((yield from asking.trim(name, policy)))

    def _trim_searched(
        self, engine: Engine, policies: Policies, each: EachThread
    ) -> Operation[tuple[dict[bytes, Policy], NotSearchable | None]]:
        """Trim the threads that can be searched for, and return the others, and why they cannot."""
        asking = self._asking(engine)
        search, unsearched, why = Search(asking), dict(policies), None
        complete = bool(policies) and (yield from indexes_are_complete(engine))
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
    ) -> Operation[ThreadResult]:
        """Trim a thread by its index, which knows all of it, unless somebody has deleted that."""
        trim = partial(search.engine.trim, name, policy)
        trimmed = yield from search.engine.with_sound_index(name, trim)
        known = trimmed.left or trimmed.deleted.keys or self._is_elsewhere(search.engine, name)
        if trimmed.unsupported is None and known:
            return one_thread.done(trimmed)
        return (yield from search.trim(name, policy))

    def _is_elsewhere(self, engine: Engine, name: bytes) -> bool:
        """Whether a thread of which there is no index in the first format is in another one."""
        if engine.layout is not self._served.first.layout:
            return False
        return any(self._beside.has(other, name) for other in self._served.engines[1:])

    def _dry_run_complete(
        self, search: Search, name: bytes, policy: Policy
    ) -> Operation[ThreadResult]:
        decisions = yield from search.engine.plan(name, policy)
        known = decisions.checkpoints or self._is_elsewhere(search.engine, name)
        if decisions.unsupported is None and known:
            return one_thread.would_be(decisions)
        return (yield from self._dry_run_searched(search, name, policy))

    def _dry_run_searched(
        self, search: Search, name: bytes, policy: Policy
    ) -> Operation[ThreadResult]:
        found = yield from search.find(name)
        return (yield from one_thread.dry_run(search.engine, name, found, policy))

    # --- plans ----------------------------------------------------------------------------------

    def _plan(
        self,
        engine: Engine,
        name: bytes,
        policy: Policy,
        policies: Mapping[Engine, Policies],
    ) -> Operation[Decisions | None]:
        asking = self._asking(engine)
        look_in = self._look_in_of(engine)
        if look_in == "index":
            if not self._served.auto:
                yield from engine.check_server()
            return (yield from asking.plan(name, policy, describe=True))
        why = None
        if look_in == "auto":
            if (yield from indexes_are_complete(engine)):
                decisions = yield from asking.plan(name, policy, describe=True)
                known = decisions.checkpoints or self._is_elsewhere(engine, name)
                if decisions.unsupported is None and known:
                    return decisions
            try:
                found = yield from Search(asking).find(name)
                return (yield from one_thread.plan(asking, name, found, policy))
            except NotSearchable as error:
                why = error
        if not (yield from self._scan(engine, {name}, policies, why)):
            return None
        return (yield from one_thread.plan(asking, name, self._scanned[engine].pop(name), policy))

    # --- the whole database -----------------------------------------------------------------------

    def _scan(
        self,
        engine: Engine,
        names: Set[bytes],
        policies: Mapping[Engine, Policies],
        error: NotSearchable | None,
    ) -> Operation[bool]:
        """Look for threads in the whole database, in one pass for all formats.

        Returns:
            Whether the server can hold the format.
        """
        try:
            yield from engine.check_server()
        except ServerLacks as lacking:
            if not self._served.auto:
                raise
            self._lacking = lacking
            self._unasked.update(names)
            return False
        if self._scanned.get(engine, {}).keys() >= names:
            return True
        # The formats that come after it will ask for these threads as well.
        later = self._served.engines[self._served.engines.index(engine) :]
        engines = [one for one in later if not one.layout.lists_itself]
        wanted = [(one, policies[one].keys() & names) for one in engines]
        looked_at = yield from self._notified(error)
        found = yield from scan.find_each([(one.layout, some) for one, some in wanted], looked_at)
        for one, of_threads in zip(engines, found, strict=True):
            self._scanned.setdefault(one, {}).update(of_threads)
        return True

    def _notified(self, error: NotSearchable | None) -> Operation[Callable[[int], None]]:
        """What to tell how far a look has come."""
        on_scan = self._on_scan
        if on_scan is None:
            return lambda _: None
        total = 0
        for node in (yield Nodes()):
            total += yield from command("DBSIZE", node=node)
        begun = ScanProgress(0, total, *((error.why, error.mend) if error else ()))
        on_scan(begun)
        return lambda keys: on_scan(replace(begun, keys=min(keys, total)))
