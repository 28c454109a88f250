"""Keep the newest checkpoints of LangGraph threads in Redis, and delete the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import perf_counter
from typing import Literal, TypeAlias, get_args

from redis_retention import stats
from redis_retention.engine import (
    DEFAULT_GRACE_MS,
    DEFAULT_KEYS_PER_CALL,
    DEFAULT_PREFIX,
    Engine,
    Place,
    Refusals,
    RetentionError,
    Rule,
    chunks,
)
from redis_retention.glob import parse
from redis_retention.layouts import LangGraphRedis, too_long_id
from redis_retention.lease import Lease
from redis_retention.pins import Pin, Pins
from redis_retention.plan import Plan, planned
from redis_retention.policies import (
    DEFAULT_PATTERN,
    Policies,
    check,
    matching,
    rule_for,
    with_default,
)
from redis_retention.policy import Policy
from redis_retention.sans_io import (
    Nodes,
    Operation,
    command,
)
from redis_retention.sources import scan
from redis_retention.sources.search import NotSearchable, Search
from redis_retention.sources.sweep import Progress, Sweeper, may_have_to_go, refuse_cluster
from redis_retention.stats import Stats, ThreadSize
from redis_retention.stopping import stoppable
from redis_retention.transport import AsyncClient, AsyncTransport, Client, Transport

ThreadId: TypeAlias = "str | bytes"

LookIn: TypeAlias = Literal["auto", "index", "scan"]
"""Where to look for the keys of a thread.

``auto`` searches for what our index does not know where the saver does, by RediSearch, and looks at
the whole database only where that cannot be; ``scan`` always looks at all of it, which finds
also what no index names; ``index`` trusts our index.
"""

DEFAULT_GRACE = timedelta(milliseconds=DEFAULT_GRACE_MS)

# What a dry run of a sweep looks for in one pass over the database.
_THREADS_PER_PASS = 500
_UNMATCHED = "no stored policy matches its id"


class NoPolicy(RetentionError):
    """No policy was given, and none that is stored matches."""


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A thread that was not touched, and why."""

    thread: str
    reason: str


@dataclass(frozen=True, slots=True)
class Looking:
    """How far a look at the whole database has come.

    Attributes:
        keys: Keys looked at, about.
        total: Keys that there are.
        why: Why that is necessary, None when somebody has asked for it.
        mend: What would avoid it.
    """

    keys: int
    total: int
    why: str | None = None
    mend: str | None = None


OnLooking: TypeAlias = "Callable[[Looking], None] | None"


@dataclass(slots=True)
class TrimResult:
    """What a trim did, or would do: as a look at the database before and after would count it.

    Attributes:
        threads: Threads looked at, whether they exist or not.
        threads_trimmed: Threads of which something was deleted.
        checkpoints_deleted: Checkpoint documents deleted, in all namespaces.
        checkpoints_kept: Checkpoint documents left in the threads looked at.
        keys_deleted: All keys of the saver that are gone, the documents with them.
        dry_run: Nothing was deleted, the numbers say what would be.
        elapsed_ms: How long it took, in milliseconds.
        left_alone: Threads that were not touched because something in them cannot be judged,
            because no stored policy matches them, or because something with them has failed.
        threads_refused: How many of these have failed.
    """

    threads: int = 0
    threads_trimmed: int = 0
    checkpoints_deleted: int = 0
    checkpoints_kept: int = 0
    keys_deleted: int = 0
    dry_run: bool = False
    elapsed_ms: float = 0.0
    left_alone: list[LeftAlone] = field(default_factory=list)
    threads_refused: int = 0

    def add(self, thread: bytes, result: scan.ThreadResult) -> None:
        """Count one thread's result in."""
        self.threads += 1
        self.threads_trimmed += result.deleted.keys > 0
        self.checkpoints_deleted += result.deleted.checkpoints
        self.checkpoints_kept += result.kept
        self.keys_deleted += result.deleted.keys
        if result.left_alone is not None:
            shown = thread.decode("utf-8", "replace")
            self.left_alone.append(LeftAlone(shown, result.left_alone))

    def refuse(self, reasons: Mapping[bytes, str]) -> None:
        """Count in the threads with which something has failed."""
        self.threads_refused += len(reasons)
        self.left_alone += [
            LeftAlone(thread.decode("utf-8", "replace"), reason)
            for thread, reason in reasons.items()
        ]


class _Each:
    """Counts the results of threads in, one after the other.

    Args:
        result: What they are counted into.
        alone: What fails with the one thread that was asked for is raised.
    """

    def __init__(self, result: TrimResult, *, alone: bool = False) -> None:
        self.result = result
        self._alone = alone
        self._refusals = Refusals()

    def add(self, thread: bytes, operation: Operation[scan.ThreadResult]) -> Operation[None]:
        """Do something with a thread: what fails with it costs the others nothing."""
        if self._alone:
            self.result.add(thread, (yield from operation))
            return
        failed = scan.ThreadResult()
        self.result.add(thread, (yield from self._refusals.tried(thread, operation, failed)))

    def finish(self) -> None:
        """Count in what has failed."""
        self.result.refuse(self._refusals.reasons)


class _Steps:
    """What both clients do, as operations."""

    def __init__(
        self,
        checkpoint_prefix: str,
        write_prefix: str,
        prefix: str,
        keys_per_call: int,
        grace: timedelta,
        policy: Policy | None,
        trigger: int | None,
    ) -> None:
        layout = LangGraphRedis(checkpoint_prefix, write_prefix)
        self._engine = Engine(
            layout,
            prefix=prefix,
            keys_per_call=keys_per_call,
            grace_ms=grace // timedelta(milliseconds=1),
        )
        self._policies = Policies(layout, prefix)
        self._pins = Pins(self._engine)
        self._default = policy, trigger

    def _names(self, threads: ThreadId | Iterable[ThreadId]) -> list[bytes]:
        several = [threads] if isinstance(threads, str | bytes) else threads
        return list(dict.fromkeys(self._name(name) for name in several))

    def _name(self, thread: ThreadId) -> bytes:
        name = self._engine.layout.stored_thread(thread)
        excess = too_long_id(name)
        if excess is not None:
            raise RetentionError(excess)
        return name

    def use(self, policy: Policy | None, trigger: int | None = None) -> None:
        """Let another policy take the place of the stored default from now on."""
        self._default = policy, trigger

    def _rules(self) -> Operation[list[Rule]]:
        """The rules that count where no policy is given."""
        stored = yield from self._policies.rules()
        return with_default(stored, *self._default)

    def _policies_for(
        self, names: Sequence[bytes], policy: Policy | None
    ) -> Operation[dict[bytes, Policy]]:
        """The policy of each thread, without those that no stored policy matches."""
        if policy is not None:
            return dict.fromkeys(names, policy)
        rules = yield from self._rules()
        found = {name: matching(rules, name) for name in names}
        if names and not any(found.values()):
            raise NoPolicy("no policy given, and no stored one matches")
        return {name: rules[0].policy for name, rules in found.items() if rules}

    def _trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy | None,
        look_in: LookIn,
        dry_run: bool,
        looking: OnLooking,
    ) -> Operation[TrimResult]:
        begun = perf_counter()
        names = self._names(threads)
        result = TrimResult(dry_run=dry_run)
        each = _Each(result, alone=len(names) == 1)
        policies = yield from self._policies_for(names, policy)
        if look_in == "index":
            for name, chosen in policies.items():
                yield from each.add(name, self._trim_indexed(name, chosen, dry_run))
        else:
            unsearched, why = policies, None
            if look_in == "auto":
                unsearched, why = yield from self._trim_searched(policies, each)
            if unsearched:
                yield from self._trim_scanned(unsearched, each, why, looking)
        each.finish()
        result.left_alone += [_unmatched(name) for name in names if name not in policies]
        result.elapsed_ms = (perf_counter() - begun) * 1000
        return result

    def _trim_indexed(
        self, name: bytes, policy: Policy, dry_run: bool
    ) -> Operation[scan.ThreadResult]:
        if dry_run:
            judged = yield from self._engine.judge(name, policy)
            return scan.would_be(judged)
        return scan.done((yield from self._engine.trim(name, policy)))

    def _trim_searched(
        self, policies: Mapping[bytes, Policy], each: _Each
    ) -> Operation[tuple[dict[bytes, Policy], NotSearchable | None]]:
        """Trim the threads that can be searched for, and answer the others, and why they cannot."""
        search, unsearched, why = Search(self._engine), dict(policies), None
        for name, policy in policies.items():
            trim = self._dry_run_searched if each.result.dry_run else Search.trim
            try:
                yield from each.add(name, trim(search, name, policy))
            except NotSearchable as error:
                why = error
                if not error.alone:
                    break
            else:
                del unsearched[name]
        return unsearched, why

    def _dry_run_searched(
        self, search: Search, name: bytes, policy: Policy
    ) -> Operation[scan.ThreadResult]:
        found = yield from search.find(name)
        return (yield from scan.dry_run(self._engine, name, found, policy))

    def _trim_scanned(
        self,
        policies: Mapping[bytes, Policy],
        each: _Each,
        why: NotSearchable | None,
        looking: OnLooking,
    ) -> Operation[None]:
        found = yield from self._scan(policies, why, looking)
        trim = scan.dry_run if each.result.dry_run else scan.trim
        for name, policy in policies.items():
            # What was found of a thread is not needed once it is trimmed.
            yield from each.add(name, trim(self._engine, name, found.pop(name), policy))

    def _scan(
        self, names: Collection[bytes], why: NotSearchable | None, looking: OnLooking
    ) -> Operation[dict[bytes, scan.Found]]:
        yield from self._engine.check_server()
        if looking is None:
            return (yield from scan.find(self._engine.layout, names))
        total = 0
        for node in (yield Nodes()):
            total += yield from command("DBSIZE", node=node)
        told = Looking(0, total)
        if why is not None:
            told = replace(told, why=why.why, mend=why.mend)
        looking(told)

        def looked_at(keys: int) -> None:
            looking(replace(told, keys=min(keys, total)))

        return (yield from scan.find(self._engine.layout, names, looked_at))

    def _sweep(
        self,
        policy: Policy | None,
        trigger: int | None,
        match: ThreadId,
        dry_run: bool,
        max_keys_per_second: int | None,
        progress: Callable[[Progress], None] | None,
        alone: bool,
        stopped: Callable[[], bool] | None,
    ) -> Operation[TrimResult]:
        operation = self._swept(policy, trigger, match, dry_run, max_keys_per_second, progress)
        if stopped is not None:
            operation = stoppable(operation, stopped)
        return (yield from Lease(self._engine).during(operation) if alone else operation)

    def _swept(
        self,
        policy: Policy | None,
        trigger: int | None,
        match: ThreadId,
        dry_run: bool,
        max_keys_per_second: int | None,
        progress: Callable[[Progress], None] | None,
    ) -> Operation[TrimResult]:
        begun = perf_counter()
        pattern = _encoded(match)
        check(Rule(pattern, policy or Policy(), trigger))
        rules = yield from self._rules_of_sweep(policy, trigger)
        result = TrimResult(dry_run=dry_run)
        if dry_run:
            yield from self._sweep_dry(rules, pattern, result)
        else:
            sweeper = Sweeper(
                self._engine,
                rules,
                match=pattern,
                max_keys_per_second=max_keys_per_second,
                progress=progress,
            )
            swept = yield from sweeper.sweep()
            result.threads = swept.threads
            result.threads_trimmed = swept.threads_trimmed
            result.checkpoints_deleted = swept.checkpoints_deleted
            result.checkpoints_kept = swept.checkpoints_kept
            result.keys_deleted = swept.keys_deleted
            result.refuse(swept.refused)
        result.elapsed_ms = (perf_counter() - begun) * 1000
        return result

    def _rules_of_sweep(self, policy: Policy | None, trigger: int | None) -> Operation[list[Rule]]:
        if policy is not None:
            return [Rule(b"*", policy, trigger)]
        rules = yield from self._rules()
        if not rules:
            raise NoPolicy("no policy given, and none is stored")
        return [replace(rule, trigger=trigger or rule.trigger) for rule in rules]

    def _sweep_dry(
        self, rules: Sequence[Rule], pattern: bytes, result: TrimResult
    ) -> Operation[None]:
        """Nothing may be indexed: the names are remembered, and found some hundreds at a time."""
        yield from refuse_cluster()
        yield from self._engine.check_server()
        names = yield from scan.thread_names(self._engine.layout)
        wanted, each = filter(parse(pattern).matches, names), _Each(result)
        for some in chunks(wanted, _THREADS_PER_PASS):
            found = yield from scan.find(self._engine.layout, some)
            for name in some:
                rule = rule_for(rules, name)
                yield from each.add(name, self._would_sweep(name, found.pop(name), rule))
        each.finish()

    def _would_sweep(
        self, name: bytes, found: scan.Found, rule: Rule | None
    ) -> Operation[scan.ThreadResult]:
        checkpoints = len(found.documents)
        if found.listed:
            [checkpoints] = yield from self._engine.counts([name])
        if rule is None or not may_have_to_go(checkpoints, rule):
            return scan.ThreadResult(kept=checkpoints)
        return (yield from scan.dry_run(self._engine, name, found, rule.policy))

    def _plan(
        self, thread: ThreadId, policy: Policy | None, look_in: LookIn, looking: OnLooking
    ) -> Operation[Plan]:
        name = self._name(thread)
        chosen = (yield from self._policies_for([name], policy))[name]
        if look_in == "index":
            yield from self._engine.check_server()
            judged = yield from self._engine.judge(name, chosen, describe=True)
        else:
            found = yield from self._found(name, look_in, looking)
            judged = yield from scan.plan(self._engine, name, found, chosen)
        return planned(name, judged)

    def _found(self, name: bytes, look_in: LookIn, looking: OnLooking) -> Operation[scan.Found]:
        why = None
        if look_in == "auto":
            try:
                return (yield from Search(self._engine).find(name))
            except NotSearchable as error:
                why = error
        return (yield from self._scan([name], why, looking))[name]

    def _largest(self, most: int, after: ThreadSize | None) -> Operation[list[ThreadSize]]:
        place = None if after is None else (after.checkpoints, after.thread)
        return stats.largest(self._engine, most, place)

    def _measure(self, threads: Iterable[ThreadId]) -> Operation[list[ThreadSize]]:
        return stats.measure(self._engine, map(self._engine.layout.stored_thread, threads))

    def _set_policy(
        self, policy: Policy, pattern: ThreadId, trigger: int | None
    ) -> Operation[Rule]:
        rule = Rule(_encoded(pattern), policy, trigger)
        yield from self._policies.set(rule)
        return rule

    def _matching(self, thread: ThreadId) -> Operation[list[Rule]]:
        return matching((yield from self._policies.rules()), self._name(thread))

    def _pin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None,
        namespace: str | bytes,
        note: str,
    ) -> Operation[None]:
        return self._pins.pin(self._name(thread), _place(namespace, checkpoint_id), note)

    def _unpin(
        self, thread: ThreadId, checkpoint_id: str | bytes | None, namespace: str | bytes
    ) -> Operation[bool]:
        return self._pins.unpin(self._name(thread), _place(namespace, checkpoint_id))


def _where(look_in: LookIn, indexed_only: bool) -> LookIn:
    if look_in not in get_args(LookIn):
        raise ValueError(f"look_in must be auto, index or scan, not {look_in!r}")
    if indexed_only and look_in == "scan":
        raise ValueError('indexed_only means look_in="index", so look_in cannot be "scan"')
    return "index" if indexed_only else look_in


def _unmatched(name: bytes) -> LeftAlone:
    return LeftAlone(name.decode("utf-8", "replace"), _UNMATCHED)


def _encoded(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def _place(namespace: str | bytes, checkpoint_id: str | bytes | None) -> Place | None:
    if checkpoint_id is None:
        return None
    return Place(_encoded(namespace), _encoded(checkpoint_id))


class Retention(_Steps):
    """Trims threads, with a synchronous client.

    Args:
        client: A redis-py client of the server (or cluster) on which the saver writes. The
            caller closes it.
        checkpoint_prefix: The saver's ``checkpoint_prefix``.
        write_prefix: The saver's ``checkpoint_write_prefix``.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete while the server does nothing else.
        grace: How long a checkpoint stays that no other has as its parent yet, and how long a
            thread must have been known to be idle before it expires.
        policy: What to keep where a call does not say it and no stored policy but the default
            matches: it takes the place of the stored default.
        trigger: The trigger that goes with it, for sweeps.
    """

    def __init__(
        self,
        client: Client,
        *,
        checkpoint_prefix: str = "checkpoint",
        write_prefix: str = "checkpoint_write",
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        grace: timedelta = DEFAULT_GRACE,
        policy: Policy | None = None,
        trigger: int | None = None,
    ) -> None:
        super().__init__(
            checkpoint_prefix, write_prefix, prefix, keys_per_call, grace, policy, trigger
        )
        self._transport = Transport(client)

    def trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy | None = None,
        *,
        look_in: LookIn = "auto",
        indexed_only: bool = False,
        dry_run: bool = False,
        looking: Callable[[Looking], None] | None = None,
    ) -> TrimResult:
        """Trim threads now.

        Args:
            threads: One thread id or several, byte for byte as the application uses them.
            policy: What to keep; None for what the stored policies say of each thread.
            look_in: Where to look for their keys, see `LookIn`.
            indexed_only: The same as ``look_in="index"``: trust the index. One round trip for a
                thread that is kept trimmed. What the index does not know stays, and leftovers of
                writers too.
            dry_run: Change nothing and say what would be deleted.
            looking: Is told when the whole database has to be looked at, and how far that is.

        Raises:
            RetentionError: The server lacks RedisJSON, a name of ours is taken, or (`NoPolicy`)
                no policy is given and no stored one matches any of the threads.
            redis.exceptions.RedisError: The server cannot be reached, or refuses.
        """
        return self._transport.run(
            self._trim(threads, policy, _where(look_in, indexed_only), dry_run, looking)
        )

    def sweep(
        self,
        policy: Policy | None = None,
        *,
        trigger: int | None = None,
        match: ThreadId = "*",
        dry_run: bool = False,
        max_keys_per_second: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        alone: bool = False,
        stopped: Callable[[], bool] | None = None,
    ) -> TrimResult:
        """Trim all threads, within a bound of memory whatever the size of the database.

        Args:
            policy: What to keep; None for the stored policies.
            trigger: Trim only threads that have more checkpoints than this; None for all that
                have more than the policy keeps.
            match: A glob for the threads to look at.
            dry_run: Change nothing and say what would be deleted. Needs memory for the names of
                the threads, and more passes.
            max_keys_per_second: Look at no more keys than this.
            progress: Is told how far the sweep has come.
            alone: Take the lease that the daemons of this database share, so that only one sweeps.
            stopped: Is asked before each request whether to stop there.

        Raises:
            NoPolicy: No policy is given and none is stored.
            LeaseTaken: `alone`, and somebody else is sweeping.
            Stopped: `stopped` has said so, or the lease was lost.
            RetentionError: The server lacks RedisJSON, or is a cluster.
        """
        return self._transport.run(
            self._sweep(
                policy, trigger, match, dry_run, max_keys_per_second, progress, alone, stopped
            )
        )

    def plan(
        self,
        thread: ThreadId,
        policy: Policy | None = None,
        *,
        look_in: LookIn = "auto",
        indexed_only: bool = False,
        looking: Callable[[Looking], None] | None = None,
    ) -> Plan:
        """Say what `trim` would do to each checkpoint of a thread, and why. Changes nothing."""
        return self._transport.run(
            self._plan(thread, policy, _where(look_in, indexed_only), looking)
        )

    def stats(self, top: int = 20, above: int | None = None) -> Stats:
        """Say how much there is, and which threads are the largest, by the indexes.

        Args:
            top: How many of the largest threads to name.
            above: Measure the newest checkpoint of each thread, too, and name those with more
                bytes.
        """
        return self._transport.run(stats.stats(self._engine, top, above))

    def largest(self, most: int, *, after: ThreadSize | None = None) -> list[ThreadSize]:
        """The threads with the most checkpoints, by the indexes; they are not measured.

        Args:
            most: How many of them.
            after: Only those that come behind this one.
        """
        return self._transport.run(self._largest(most, after))

    def measure(self, threads: Iterable[ThreadId]) -> list[ThreadSize]:
        """How large threads are, estimated from some checkpoints of each."""
        return self._transport.run(self._measure(threads))

    def set_policy(
        self, policy: Policy, pattern: ThreadId = DEFAULT_PATTERN, *, trigger: int | None = None
    ) -> Rule:
        """Store a policy in Redis, for everybody who trims without saying what to keep.

        Args:
            policy: What to keep.
            pattern: A glob for the ids of the threads; which one wins says
                `redis_retention.policies`.
            trigger: Let the automatic trims fire when there are more checkpoints than this.

        Raises:
            InvalidPolicy: The pattern is wrong, or the trigger less than what is kept.
        """
        return self._transport.run(self._set_policy(policy, pattern, trigger))

    def remove_policy(self, pattern: ThreadId) -> bool:
        """Remove the stored policy with exactly this pattern; False when there is none."""
        return self._transport.run(self._policies.remove(_encoded(pattern)))

    def policies(self) -> list[Rule]:
        """The stored policies, the most specific first."""
        return self._transport.run(self._policies.rules())

    def policies_for(self, thread: ThreadId) -> list[Rule]:
        """The stored policies that match a thread: the first one counts for it."""
        return self._transport.run(self._matching(thread))

    def pin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None = None,
        *,
        namespace: str | bytes = "",
        note: str = "",
    ) -> None:
        """Keep a checkpoint, or the whole thread, whatever a policy says.

        Raises:
            RetentionError: There is no such checkpoint.
        """
        self._transport.run(self._pin(thread, checkpoint_id, namespace, note))

    def unpin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None = None,
        *,
        namespace: str | bytes = "",
    ) -> bool:
        """Take a pin away again; False when there is none."""
        return self._transport.run(self._unpin(thread, checkpoint_id, namespace))

    def pins(self, thread: ThreadId) -> list[Pin]:
        """The pins of a thread."""
        return self._transport.run(self._pins.of(self._name(thread)))

    def all_pins(self) -> dict[bytes, list[Pin]]:
        """The pins of all threads, by thread; finds them by a pass over the database."""
        return self._transport.run(self._pins.all())


class AsyncRetention(_Steps):
    """Trims threads, with an asynchronous client; see `Retention`."""

    def __init__(
        self,
        client: AsyncClient,
        *,
        checkpoint_prefix: str = "checkpoint",
        write_prefix: str = "checkpoint_write",
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
        grace: timedelta = DEFAULT_GRACE,
        policy: Policy | None = None,
        trigger: int | None = None,
    ) -> None:
        super().__init__(
            checkpoint_prefix, write_prefix, prefix, keys_per_call, grace, policy, trigger
        )
        self._transport = AsyncTransport(client)

    async def trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy | None = None,
        *,
        look_in: LookIn = "auto",
        indexed_only: bool = False,
        dry_run: bool = False,
        looking: Callable[[Looking], None] | None = None,
    ) -> TrimResult:
        """Trim threads now; see `Retention.trim`."""
        return await self._transport.run(
            self._trim(threads, policy, _where(look_in, indexed_only), dry_run, looking)
        )

    async def sweep(
        self,
        policy: Policy | None = None,
        *,
        trigger: int | None = None,
        match: ThreadId = "*",
        dry_run: bool = False,
        max_keys_per_second: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        alone: bool = False,
        stopped: Callable[[], bool] | None = None,
    ) -> TrimResult:
        """Trim all threads; see `Retention.sweep`."""
        return await self._transport.run(
            self._sweep(
                policy, trigger, match, dry_run, max_keys_per_second, progress, alone, stopped
            )
        )

    async def plan(
        self,
        thread: ThreadId,
        policy: Policy | None = None,
        *,
        look_in: LookIn = "auto",
        indexed_only: bool = False,
        looking: Callable[[Looking], None] | None = None,
    ) -> Plan:
        """Say what `trim` would do to each checkpoint of a thread; see `Retention.plan`."""
        return await self._transport.run(
            self._plan(thread, policy, _where(look_in, indexed_only), looking)
        )

    async def stats(self, top: int = 20, above: int | None = None) -> Stats:
        """Say how much there is; see `Retention.stats`."""
        return await self._transport.run(stats.stats(self._engine, top, above))

    async def largest(self, most: int, *, after: ThreadSize | None = None) -> list[ThreadSize]:
        """The threads with the most checkpoints; see `Retention.largest`."""
        return await self._transport.run(self._largest(most, after))

    async def measure(self, threads: Iterable[ThreadId]) -> list[ThreadSize]:
        """How large threads are; see `Retention.measure`."""
        return await self._transport.run(self._measure(threads))

    async def set_policy(
        self, policy: Policy, pattern: ThreadId = DEFAULT_PATTERN, *, trigger: int | None = None
    ) -> Rule:
        """Store a policy in Redis; see `Retention.set_policy`."""
        return await self._transport.run(self._set_policy(policy, pattern, trigger))

    async def remove_policy(self, pattern: ThreadId) -> bool:
        """Remove the stored policy with exactly this pattern; False when there is none."""
        return await self._transport.run(self._policies.remove(_encoded(pattern)))

    async def policies(self) -> list[Rule]:
        """The stored policies, the most specific first."""
        return await self._transport.run(self._policies.rules())

    async def policies_for(self, thread: ThreadId) -> list[Rule]:
        """The stored policies that match a thread: the first one counts for it."""
        return await self._transport.run(self._matching(thread))

    async def pin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None = None,
        *,
        namespace: str | bytes = "",
        note: str = "",
    ) -> None:
        """Keep a checkpoint, or the whole thread; see `Retention.pin`."""
        await self._transport.run(self._pin(thread, checkpoint_id, namespace, note))

    async def unpin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None = None,
        *,
        namespace: str | bytes = "",
    ) -> bool:
        """Take a pin away again; False when there is none."""
        return await self._transport.run(self._unpin(thread, checkpoint_id, namespace))

    async def pins(self, thread: ThreadId) -> list[Pin]:
        """The pins of a thread."""
        return await self._transport.run(self._pins.of(self._name(thread)))

    async def all_pins(self) -> dict[bytes, list[Pin]]:
        """The pins of all threads, by thread; see `Retention.all_pins`."""
        return await self._transport.run(self._pins.all())
