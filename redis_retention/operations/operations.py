"""What `Retention` and `AsyncRetention` do: each operation once, with its signature."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TypeAlias

from redis_retention.engine import Place, Rule
from redis_retention.errors import RetentionError
from redis_retention.layouts import too_long_id
from redis_retention.layouts.ids import as_bytes
from redis_retention.layouts.names import title
from redis_retention.lease import Lease
from redis_retention.operations.choice import Choice
from redis_retention.operations.named import LookIn, NamedThreads, look_in_of
from redis_retention.operations.pins import Pin, ServedPins
from redis_retention.operations.plan import Plan, planned
from redis_retention.operations.served_stats import largest_of, measure_all, stats_of
from redis_retention.operations.stats import Stats, ThreadSize
from redis_retention.policies import DEFAULT_PATTERN, check, matching
from redis_retention.policy import Policy
from redis_retention.results import EachThread, ScanProgress, TrimResult, total
from redis_retention.sans_io import Operation
from redis_retention.served import Served
from redis_retention.sources.sweep import Progress, sweep_formats, sweep_formats_dry
from redis_retention.stopping import stoppable

ThreadId: TypeAlias = "str | bytes"

_UNMATCHED = "no stored policy matches its id"


class Operations:
    """Everything that can be done with the threads of the formats that are served, without I/O."""

    def __init__(
        self, served: Served, policy: Policy | None = None, trigger: int | None = None
    ) -> None:
        self._served = served
        self._policies = served.policies
        self._choice = Choice(served, (policy, trigger))
        self._pins = ServedPins(served)

    # --- threads ----------------------------------------------------------------------------------

    def trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy | None = None,
        *,
        look_in: LookIn = "auto",
        indexed_only: bool = False,
        dry_run: bool = False,
        on_scan: Callable[[ScanProgress], None] | None = None,
    ) -> Operation[TrimResult]:
        """Trim threads now.

        Args:
            threads: One thread id or several, byte for byte as the application uses them.
            policy: What to keep; None for what the stored policies say of each thread.
            look_in: Where to look for their keys, see `LookIn`.
            indexed_only: The same as ``look_in="index"``: trust the index. One round trip for a
                thread that is kept trimmed. What the index does not know is retained, and orphans
                are not deleted.
            dry_run: Change nothing and say what would be deleted.
            on_scan: Is called when the whole database has to be scanned, with how far that is.

        Raises:
            RetentionError: The server lacks RedisJSON, a name of ours is taken, or (`NoPolicy`)
                no policy is given and no stored one matches any of the threads.
            redis.exceptions.RedisError: The server cannot be reached, or refuses.
        """
        named = NamedThreads(self._served, look_in_of(look_in, indexed_only), on_scan)
        begun = perf_counter()
        several = [threads] if isinstance(threads, str | bytes) else threads
        names = list(dict.fromkeys(map(self._name, several)))
        each = {
            engine: EachThread(TrimResult(dry_run=dry_run), only_one=len(names) == 1)
            for engine in self._served.engines
        }
        policies = yield from self._choice.of_threads(names, policy)
        yield from named.trim(policies, each)
        matched = set().union(*policies.values())
        result = total(each, dry_run=dry_run)
        result.threads = len(matched)
        result.threads_trimmed = len(set().union(*(one.trimmed for one in each.values())))
        result.leave_alone({name: _UNMATCHED for name in names if name not in matched})
        result.elapsed_ms = (perf_counter() - begun) * 1000
        return result

    def plan(
        self,
        thread: ThreadId,
        policy: Policy | None = None,
        *,
        look_in: LookIn = "auto",
        indexed_only: bool = False,
        on_scan: Callable[[ScanProgress], None] | None = None,
    ) -> Operation[Plan]:
        """Say what `trim` would do to each checkpoint of a thread, and why. Changes nothing."""
        named = NamedThreads(self._served, look_in_of(look_in, indexed_only), on_scan)
        name = self._name(thread)
        decisions = yield from named.plan((yield from self._choice.of_threads([name], policy)))
        return planned(name, {title(engine.layout): one for engine, one in decisions.items()})

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
    ) -> Operation[TrimResult]:
        """Trim all threads, within a bound of memory whatever the size of the database.

        Args:
            policy: What to keep; None for the stored policies.
            trigger: Trim only threads that have more checkpoints than this; None for all that
                have more than the policy keeps.
            match: A glob for the threads to look at.
            dry_run: Change nothing and say what would be deleted. Needs memory for the names of
                the threads, and more passes.
            max_keys_per_second: Look at no more keys than this.
            progress: Is notified how far the sweep has come.
            alone: Take the lease that the daemons of this database share, so that only one sweeps.
            stopped: Is asked before each request whether to stop there.

        Raises:
            NoPolicy: No policy is given and none is stored.
            LeaseTaken: `alone`, and somebody else is sweeping.
            Stopped: `stopped` has said so, or the lease was lost.
            RetentionError: The server lacks RedisJSON, or is a cluster.
        """
        operation = self._sweep(
            policy, trigger, match, dry_run, max_keys_per_second, progress, alone
        )
        if stopped is not None:
            operation = stoppable(operation, stopped)
        return Lease(self._served.first).during(operation) if alone else operation

    def _sweep(
        self,
        policy: Policy | None,
        trigger: int | None,
        match: ThreadId,
        dry_run: bool,
        max_keys_per_second: int | None,
        progress: Callable[[Progress], None] | None,
        alone: bool,
    ) -> Operation[TrimResult]:
        begun = perf_counter()
        pattern = as_bytes(match)
        check(Rule(pattern, policy or Policy(), trigger))
        rules = yield from self._choice.of_sweep(policy, trigger)
        result: TrimResult
        if dry_run:
            result = yield from sweep_formats_dry(self._served, rules, pattern)
        else:
            result = yield from sweep_formats(
                self._served,
                rules,
                match=pattern,
                max_keys_per_second=max_keys_per_second,
                progress=progress,
                alone=alone,
            )
        result.elapsed_ms = (perf_counter() - begun) * 1000
        return result

    # --- sizes ------------------------------------------------------------------------------------

    def stats(self, top: int = 20, above: int | None = None) -> Operation[Stats]:
        """Say how much there is, and which threads are the largest, by the indexes.

        Args:
            top: How many of the largest threads to name.
            above: Measure the newest checkpoint of each thread, too, and name those with more
                bytes.
        """
        return stats_of(self._served, top, above)

    def largest(
        self, most: int, *, after: ThreadSize | None = None, match: ThreadId = "*"
    ) -> Operation[list[ThreadSize]]:
        """The threads with the most checkpoints, by the indexes; they are not measured.

        Args:
            most: How many of them.
            after: Only those that come behind this one.
            match: Only those whose ids match this glob.

        Raises:
            InvalidPolicy: The glob is wrong.
        """
        place = None if after is None else (after.checkpoints, after.thread)
        return largest_of(self._served, most, place, as_bytes(match))

    def measure(self, threads: Iterable[ThreadId]) -> Operation[list[ThreadSize]]:
        """How large threads are, estimated from some checkpoints of each."""
        return measure_all(self._served, list(map(self._name, threads)))

    # --- stored policies --------------------------------------------------------------------------

    def set_policy(
        self,
        policy: Policy,
        pattern: ThreadId = DEFAULT_PATTERN,
        *,
        trigger: int | None = None,
        layout: str | None = None,
    ) -> Operation[Rule]:
        """Store a policy in Redis, for everybody who trims without saying what to keep.

        Args:
            policy: What to keep.
            pattern: A glob for the ids of the threads; which one wins says
                `redis_retention.policies`.
            trigger: Let the automatic trims fire when there are more checkpoints than this.
            layout: The only storage format for which it counts, by its name; None for all.

        Raises:
            InvalidPolicy: The pattern is wrong, or the trigger less than what is kept.
        """
        rule = Rule(as_bytes(pattern), policy, trigger, layout)
        yield from self._policies.set(rule)
        return rule

    def remove_policy(self, pattern: ThreadId, *, layout: str | None = None) -> Operation[bool]:
        """Remove the stored policy with exactly this pattern and layout; False if there is none."""
        return self._policies.remove(as_bytes(pattern), layout)

    def policies(self) -> Operation[list[Rule]]:
        """The stored policies, the most specific first."""
        return self._policies.rules()

    def policies_for(self, thread: ThreadId) -> Operation[list[Rule]]:
        """The stored policies that match a thread: the first one counts for it."""
        return matching((yield from self._policies.rules()), self._name(thread))

    # --- pins -------------------------------------------------------------------------------------

    def pin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None = None,
        *,
        namespace: str | bytes = "",
        note: str = "",
    ) -> Operation[None]:
        """Keep a checkpoint, or the whole thread, whatever a policy says.

        Raises:
            RetentionError: There is no such checkpoint.
        """
        return self._pins.pin(self._name(thread), _place(namespace, checkpoint_id), note)

    def unpin(
        self,
        thread: ThreadId,
        checkpoint_id: str | bytes | None = None,
        *,
        namespace: str | bytes = "",
    ) -> Operation[bool]:
        """Remove a pin again; False when there is none."""
        return self._pins.unpin(self._name(thread), _place(namespace, checkpoint_id))

    def pins(self, thread: ThreadId) -> Operation[list[Pin]]:
        """The pins of a thread."""
        return self._pins.of(self._name(thread))

    def all_pins(self) -> Operation[dict[bytes, list[Pin]]]:
        """The pins of all threads, by thread; finds them by a pass over the database."""
        return self._pins.all()

    # --- names and rules --------------------------------------------------------------------------

    def _name(self, thread: ThreadId) -> bytes:
        name = self._served.first.layout.stored_thread(thread)
        excess = too_long_id(name)
        if excess is not None:
            raise RetentionError(excess)
        return name

    def use(self, policy: Policy | None, trigger: int | None = None) -> None:
        """Let another policy take the place of the stored default from now on."""
        self._choice.default = policy, trigger


def _place(namespace: str | bytes, checkpoint_id: str | bytes | None) -> Place | None:
    if checkpoint_id is None:
        return None
    return Place(as_bytes(namespace), as_bytes(checkpoint_id))
