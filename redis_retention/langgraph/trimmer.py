"""What a saver does with its puts: indexes them, and trims threads that are too long.

All that talks to the server is written as operations, so that the savers differ in nothing but the
``await``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any, Literal, TypeAlias, TypedDict, get_args

import redis
import redis.asyncio
from redis.exceptions import ConnectionError as NoConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention.batches import batched
from redis_retention.engine import (
    DEFAULT_KEYS_PER_CALL,
    DEFAULT_PREFIX,
    DOCUMENTS_PER_CALL,
    UNSUPPORTED,
    Deleted,
    Engine,
    Rule,
    Tracked,
)
from redis_retention.engine import entries as entry
from redis_retention.errors import RetentionError
from redis_retention.langgraph.puts import Put, PutCounts
from redis_retention.layouts import LangGraphRedis
from redis_retention.layouts.names import title
from redis_retention.logs import fields, logger
from redis_retention.policies import DEFAULT_PATTERN, Policies, check, for_layout, rule_for
from redis_retention.policy import Policy
from redis_retention.retention import DEFAULT_GRACE
from redis_retention.sans_io import Command, Operation, T
from redis_retention.sources.search import Search
from redis_retention.sources.search_index import NotSearchable
from redis_retention.transport import AsyncClient, Client, has_one_connection

log = logger("langgraph")

Mode: TypeAlias = Literal["background", "inline"]
"""When a saver trims: beside its puts, or within the one that crosses the trigger."""

OnError: TypeAlias = Callable[[Exception, list[str]], None]
"""Is notified of what went wrong, and with which threads."""


class TrimOptions(TypedDict, total=False):
    """How a saver trims; `RetentionRedisSaver` says what each means, `trimmer_for` the defaults."""

    trigger: int | None
    mode: Mode
    on_error: OnError | None
    prefix: str
    keys_per_call: int
    grace: timedelta


class RetentionOptions(TrimOptions, total=False):
    """How a saver trims, and what it retains."""

    retention: Policy | None


class SaverOptions(RetentionOptions, total=False):
    """All that a saver takes; some of it `langgraph.checkpoint.redis` takes beside a client."""

    connection_args: dict[str, Any] | None
    ttl: dict[str, Any] | None
    checkpoint_prefix: str
    checkpoint_write_prefix: str


def parted(options: SaverOptions) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of some options is the plain saver's, and what says how to trim."""
    plain, ours = dict[str, Any](), dict[str, Any]()
    for name, value in options.items():
        (ours if name in RetentionOptions.__optional_keys__ else plain)[name] = value
    return plain, ours


# The default trigger is so many times what is retained.
_TRIGGER_FACTOR = 3
_RULES_SECONDS = 5.0

# What passes by itself, so that it is worth trying again.
PASSING = (NoConnectionError, NoReplyError, OSError)


@dataclass(slots=True)
class TrimCounts:
    """What a saver has trimmed since it was made.

    Attributes:
        trims: Threads that were trimmed, each time counted.
        checkpoints: Checkpoints deleted.
        keys: Keys deleted, the checkpoints with them.
        failed: Attempts that have failed.
        dropped: Puts that were too many to remember; the next put of their thread makes up for it.
    """

    trims: int = 0
    checkpoints: int = 0
    keys: int = 0
    failed: int = 0
    dropped: int = 0


class Trimmer:
    """Trims the threads of one saver.

    Args:
        engine: Trims.
        retention: What to keep; None for what the policies say that are stored in Redis.
        trigger: A thread is trimmed when one of its namespaces has more checkpoints than this. By
            default three times what is retained, or what the stored policy says.
        on_error: Is notified of what goes wrong.
        one_thread_per_call: Hand the server the checkpoints of one thread at a time, as a cluster
            wants it.

    Attributes:
        puts: How many checkpoints threads have.
        counts: What was trimmed.

    Raises:
        InvalidPolicy: The trigger is less than what is retained.
    """

    def __init__(
        self,
        engine: Engine,
        retention: Policy | None,
        trigger: int | None,
        on_error: OnError | None = None,
        *,
        one_thread_per_call: bool = False,
    ) -> None:
        self.engine = engine
        self.policies = Policies(engine.layout, engine.prefix)
        self.counts = TrimCounts()
        self._on_error = on_error
        self._one_thread_per_call = one_thread_per_call
        self._stored = retention is None
        if retention is not None and trigger is None:
            trigger = _TRIGGER_FACTOR * (retention.keep_last or 1)
        self._trigger = trigger
        self._rules: list[Rule] | None = None
        self._rules_at = 0.0
        if retention is not None:
            self._rules = [Rule(DEFAULT_PATTERN, retention, trigger)]
        check(Rule(DEFAULT_PATTERN, retention or Policy(), trigger))
        self.puts = PutCounts(engine.layout, self._rules)

    def failed(self, error: Exception, threads: Collection[bytes]) -> None:
        """Count and log what went wrong, and call `on_error`. Nothing is raised."""
        self.counts.failed += 1
        names = [thread.decode("utf-8", "replace") for thread in dict.fromkeys(threads)]
        log.warning("cannot trim now: %s", error, extra=fields(threads=", ".join(names[:5])))
        if self._on_error is None:
            return
        try:
            self._on_error(error, names)
        except Exception:
            log.exception("on_error has failed")

    def work_off(self, puts: Sequence[Put], before: Sequence[Command] = ()) -> Operation[None]:
        """Index what was put, and trim what has crossed its trigger.

        Args:
            puts: What was put.
            before: Commands to send before that, in the same go.
        """
        rules = yield from self._current_rules()
        if not rules:
            if before:
                yield list(before)
            return
        for some in self._callable(puts):
            yield from self._work_off(some, rules, before)
            before = ()

    def _callable(self, puts: Sequence[Put]) -> list[list[Put]]:
        """The puts in groups that one call may touch, and that take it some milliseconds."""
        groups: dict[bytes, list[Put]] = {}
        for put in puts:
            groups.setdefault(put.thread if self._one_thread_per_call else b"", []).append(put)
        return [some for group in groups.values() for some in batched(group, DOCUMENTS_PER_CALL)]

    def _current_rules(self) -> Operation[list[Rule]]:
        now = monotonic()
        if self._rules is None or (self._stored and now - self._rules_at > _RULES_SECONDS):
            stored = yield from self.policies.rules()
            rules = [
                replace(rule, trigger=self._trigger) if rule.trigger is None else rule
                for rule in for_layout(stored, title(self.engine.layout))
            ]
            self.puts.use(rules)
            self._rules, self._rules_at = rules, now
        return self._rules

    def _work_off(
        self, puts: Sequence[Put], rules: Sequence[Rule], before: Sequence[Command]
    ) -> Operation[None]:
        unsure = [put for put in puts if put.unseen_parent]
        questions = [question for put in unsure for question in self._questions(put)]
        track = self.engine.track([put.key for put in puts], rules)
        replies, tracked = yield from _beside([*before, *questions], track)
        answers = replies[len(before) :]
        for row in tracked:
            yield from self._trimmed(row, rules)
        unknown: dict[bytes, None] = {}
        for put, parent, count in zip(unsure, answers[::2], answers[1::2], strict=True):
            if not parent:
                unknown[put.thread] = None
            elif not any(row.thread == put.thread for row in tracked):
                own = sum(p.thread == put.thread and p.namespace == put.namespace for p in puts)
                self.puts.set_indexed(put.thread, put.namespace, count + own)
        for thread in unknown:
            yield from self._catch_up(thread, rules)

    def _questions(self, put: Put) -> tuple[Command, Command]:
        """Whether the index knows the parent of what was put, and how many checkpoints it knows."""
        index = self.engine.index_key(put.thread)
        parent = entry.of_checkpoint(put.namespace, put.unseen_parent)
        return (
            Command(("ZRANGEBYLEX", index, *parent, "LIMIT", 0, 1)),
            Command(("ZLEXCOUNT", index, *entry.of_namespace(put.namespace))),
        )

    def _trimmed(self, row: Tracked, rules: Sequence[Rule]) -> Operation[None]:
        refused = row.refused or (UNSUPPORTED if row.unsupported else None)
        if refused is not None:
            if row.refused:
                self.puts.forget([row.thread])
            self.failed(RetentionError(refused), [row.thread])
            return
        rule = rule_for(rules, row.thread)
        deleted = row.deleted
        if row.more and rule is not None:
            rest = (yield from self.engine.trim(row.thread, rule.policy)).deleted
            deleted.add(rest.checkpoints, rest.keys)
        if rule is not None:
            self.puts.set_trimmed(row.thread, rule.policy)
        self._count(row.thread, deleted)

    def _catch_up(self, thread: bytes, rules: Sequence[Rule]) -> Operation[None]:
        """Index what the index does not know of a thread; trim it if that is too much.

        It was written by another saver, or by a process that did not come to index it.
        """
        rule = rule_for(rules, thread)
        if rule is None or rule.trigger is None:
            return
        search = Search(self.engine)
        try:
            found = yield from search.find(thread)
            if len(found.documents) > rule.trigger:
                result = yield from search.trim(thread, rule.policy)
                if result.left_alone is not None:
                    raise RetentionError(result.left_alone)
                self.puts.set_trimmed(thread, rule.policy)
                self._count(thread, result.deleted)
                return
        except NotSearchable as error:
            log.info("not searched for: %s", error.why, extra=fields(thread=thread))
            return
        except RetentionError as error:
            self.failed(error, [thread])
            return
        by_names = not rule.policy.keep_runs
        yield from self.engine.update_index(thread, found.writes_seen(), by_names=by_names)
        self.puts.set_indexed(thread, b"", len(found.documents))

    def _count(self, thread: bytes, deleted: Deleted) -> None:
        self.counts.trims += 1
        self.counts.checkpoints += deleted.checkpoints
        self.counts.keys += deleted.keys
        log.debug(
            "trimmed",
            extra=fields(thread=thread, checkpoints=deleted.checkpoints, keys=deleted.keys),
        )


def trimmer_for(
    client: Client | AsyncClient,
    checkpoint_prefix: str,
    write_prefix: str,
    *,
    retention: Policy | None = None,
    trigger: int | None = None,
    mode: Mode = "background",
    on_error: OnError | None = None,
    prefix: str = DEFAULT_PREFIX,
    keys_per_call: int = DEFAULT_KEYS_PER_CALL,
    grace: timedelta = DEFAULT_GRACE,
) -> Trimmer:
    """What trims a saver's threads.

    Raises:
        ValueError: An argument means nothing, or the client cannot do two things at a time.
    """
    if mode not in get_args(Mode):
        raise ValueError(f"mode must be background or inline, not {mode!r}")
    clustered = isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster)
    if mode == "background" and not clustered and has_one_connection(client):
        raise ValueError(
            "trims in the background need a second connection: give the client a pool with "
            'max_connections of at least 2, or say mode="inline"'
        )
    engine = Engine(
        LangGraphRedis(checkpoint_prefix, write_prefix),
        prefix=prefix,
        keys_per_call=keys_per_call,
        grace_ms=grace // timedelta(milliseconds=1),
    )
    return Trimmer(engine, retention, trigger, on_error, one_thread_per_call=clustered)


def _beside(commands: Sequence[Command], operation: Operation[T]) -> Operation[tuple[list[Any], T]]:
    """Send commands in the same go as an operation's one request: their replies, its result."""
    [request] = next(operation)  # type: ignore[misc]
    try:
        *replies, reply = yield [*commands, request]
    except ResponseError as error:
        # The operation knows how to say what is wrong with it.
        operation.throw(error)
        raise
    try:
        operation.send([reply])
    except StopIteration as stop:
        return replies, stop.value
    raise AssertionError("this operation has more than one request")
