"""Keep the newest checkpoints of LangGraph threads in Redis, and delete the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeAlias

from redis_retention.engine import DEFAULT_KEYS_PER_CALL, DEFAULT_PREFIX, Engine
from redis_retention.layouts import LangGraphRedis
from redis_retention.plan import Plan, planned
from redis_retention.policy import Policy
from redis_retention.sources import scan
from redis_retention.transport import AsyncClient, AsyncTransport, Client, Steps, Transport

ThreadId: TypeAlias = "str | bytes"


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """A thread that was not touched, and why."""

    thread: str
    reason: str


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
        left_alone: Threads that were not touched because something in them cannot be judged.
    """

    threads: int = 0
    threads_trimmed: int = 0
    checkpoints_deleted: int = 0
    checkpoints_kept: int = 0
    keys_deleted: int = 0
    dry_run: bool = False
    elapsed_ms: float = 0.0
    left_alone: list[LeftAlone] = field(default_factory=list)

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


class _Steps:
    """What both clients do, as steps."""

    def __init__(self, checkpoint_prefix: str, write_prefix: str, prefix: str, keys: int) -> None:
        layout = LangGraphRedis(checkpoint_prefix, write_prefix)
        self._engine = Engine(layout, prefix=prefix, keys_per_call=keys)

    def _names(self, threads: ThreadId | Iterable[ThreadId]) -> list[bytes]:
        several = [threads] if isinstance(threads, str | bytes) else threads
        return list(dict.fromkeys(self._engine.layout.stored_thread(name) for name in several))

    def _trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy,
        indexed_only: bool,
        dry_run: bool,
    ) -> Steps[TrimResult]:
        begun = perf_counter()
        names = self._names(threads)
        result = TrimResult(dry_run=dry_run)
        if indexed_only:
            for name in names:
                result.add(name, (yield from self._trim_indexed(name, policy, dry_run)))
        else:
            yield from self._trim_found(names, policy, result)
        result.elapsed_ms = (perf_counter() - begun) * 1000
        return result

    def _trim_indexed(self, name: bytes, policy: Policy, dry_run: bool) -> Steps[scan.ThreadResult]:
        if dry_run:
            judged = yield from self._engine.judge(name, policy)
            return scan.would_be(judged)
        return scan.done((yield from self._engine.trim(name, policy)))

    def _trim_found(
        self, names: Sequence[bytes], policy: Policy, result: TrimResult
    ) -> Steps[None]:
        yield from self._engine.check_server()
        if not names:
            return
        found = yield from scan.find(self._engine.layout, names)
        trim = scan.dry_run if result.dry_run else scan.trim
        for name in names:
            # What was found of a thread is not needed once it is trimmed.
            result.add(name, (yield from trim(self._engine, name, found.pop(name), policy)))

    def _plan(self, thread: ThreadId, policy: Policy, indexed_only: bool) -> Steps[Plan]:
        yield from self._engine.check_server()
        [name] = self._names(thread)
        if indexed_only:
            judged = yield from self._engine.judge(name, policy, describe=True)
        else:
            found = yield from scan.find(self._engine.layout, [name])
            judged = yield from scan.plan(self._engine, name, found[name], policy)
        return planned(name, judged)


class Retention(_Steps):
    """Trims threads, with a synchronous client.

    Args:
        client: A redis-py client of the server (or cluster) on which the saver writes. The
            caller closes it.
        checkpoint_prefix: The saver's ``checkpoint_prefix``.
        write_prefix: The saver's ``checkpoint_write_prefix``.
        prefix: What all keys of our own begin with.
        keys_per_call: Keys that one call may delete while the server does nothing else.
    """

    def __init__(
        self,
        client: Client,
        *,
        checkpoint_prefix: str = "checkpoint",
        write_prefix: str = "checkpoint_write",
        prefix: str = DEFAULT_PREFIX,
        keys_per_call: int = DEFAULT_KEYS_PER_CALL,
    ) -> None:
        super().__init__(checkpoint_prefix, write_prefix, prefix, keys_per_call)
        self._transport = Transport(client)

    def trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy,
        *,
        indexed_only: bool = False,
        dry_run: bool = False,
    ) -> TrimResult:
        """Trim threads now.

        Args:
            threads: One thread id or several, byte for byte as the application uses them.
            policy: What to keep.
            indexed_only: Trust the index: one round trip for a thread that is kept trimmed. What
                the index does not know stays, and leftovers of writers too.
            dry_run: Change nothing and say what would be deleted.

        Raises:
            RetentionError: The server lacks RedisJSON, or a name of ours is taken.
            redis.exceptions.RedisError: The server cannot be reached, or refuses.
        """
        return self._transport.run(self._trim(threads, policy, indexed_only, dry_run))

    def plan(self, thread: ThreadId, policy: Policy, *, indexed_only: bool = False) -> Plan:
        """Say what `trim` would do to each checkpoint of a thread, and why. Changes nothing."""
        return self._transport.run(self._plan(thread, policy, indexed_only))


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
    ) -> None:
        super().__init__(checkpoint_prefix, write_prefix, prefix, keys_per_call)
        self._transport = AsyncTransport(client)

    async def trim(
        self,
        threads: ThreadId | Iterable[ThreadId],
        policy: Policy,
        *,
        indexed_only: bool = False,
        dry_run: bool = False,
    ) -> TrimResult:
        """Trim threads now; see `Retention.trim`."""
        return await self._transport.run(self._trim(threads, policy, indexed_only, dry_run))

    async def plan(self, thread: ThreadId, policy: Policy, *, indexed_only: bool = False) -> Plan:
        """Say what `trim` would do to each checkpoint of a thread; see `Retention.plan`."""
        return await self._transport.run(self._plan(thread, policy, indexed_only))
