"""Works off backlogs: one pass over the database, whatever its size, with constant memory.

The server looks at its own keys (``lua/survey.lua``), so that a key in order costs nothing on the
wire. What no index knows is tracked, what is left of checkpoints that are gone is cleaned up, and
each index that knows more than the policy keeps is trimmed. What was written meanwhile is found
by the next sweep, and a sweep that was interrupted is simply begun anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from redis_retention.engine import (
    DOCUMENTS_PER_CALL,
    LEFTOVER_AGE_MS,
    Engine,
    Indexed,
    Remains,
    RetentionError,
    Rule,
    Survey,
    chunks,
)
from redis_retention.policies import matching
from redis_retention.transport import Nodes, Pause, Steps, command

_KEYS_PER_STEP = 250
# Leftovers are cleaned up at the end, or when there are this many of them.
_REMEMBERED = 10_000
# A step takes a millisecond or two. One that takes this long has waited for others.
_BUSY_SECONDS = 0.05
_REST_PER_SECOND_BUSY = 2.0
_LONGEST_REST_SECONDS = 2.0


@dataclass(slots=True)
class SweepResult:
    """What a sweep has done.

    Attributes:
        threads: Threads that have an index.
        threads_trimmed: Threads of which something was deleted.
        checkpoints_deleted: Checkpoint documents deleted, in all namespaces.
        checkpoints_kept: Checkpoints left in those threads.
        keys_deleted: All keys of the saver that are gone, the documents with them.
        keys_scanned: Keys of the database that were looked at.
        elapsed_ms: How long it took, in milliseconds.
    """

    threads: int = 0
    threads_trimmed: int = 0
    checkpoints_deleted: int = 0
    checkpoints_kept: int = 0
    keys_deleted: int = 0
    keys_scanned: int = 0
    elapsed_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep has come: keys looked at, of about `total`."""

    keys: int
    total: int


class Sweeper:
    """One sweep.

    Args:
        engine: What to do with a thread.
        rules: The first whose pattern matches a thread counts for it; threads that none matches
            are indexed and left alone.
        match: A glob for the threads to look at.
        max_keys_per_second: Look at no more keys than this.
        older_than_ms: Milliseconds after which what writers left behind goes.
        progress: Is told how far the sweep has come.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Sequence[Rule],
        *,
        match: bytes = b"*",
        max_keys_per_second: int | None = None,
        older_than_ms: int = LEFTOVER_AGE_MS,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._match = match
        self._max_keys_per_second = max_keys_per_second
        self._older_than_ms = older_than_ms
        self._progress = progress
        self._result = SweepResult()
        self._new_documents = False
        self._second_pass = False
        self._remains: list[list[bytes]] = []
        self._pointers: list[list[bytes]] = []
        # Trimmed before a document was found that no index knew: that comes early or not at all.
        self._trimmed: set[bytes] = set()

    def steps(self) -> Steps[SweepResult]:
        """Sweep once.

        Raises:
            RetentionError: The server is a cluster, in which a script may not look at all keys.
        """
        begun = perf_counter()
        yield from refuse_cluster()
        yield from self._engine.check_server()
        yield from self._pass(indexes_only=False)
        if self._new_documents:
            # Their indexes may not have been whole when the first pass came by.
            self._second_pass = True
            yield from self._pass(indexes_only=True)
        self._result.elapsed_ms = (perf_counter() - begun) * 1000
        return self._result

    def _pass(self, *, indexes_only: bool) -> Steps[None]:
        self._result.threads = self._result.checkpoints_kept = 0
        total = yield from command("DBSIZE")
        cursor, seen = 0, 0
        begun = perf_counter()
        while True:
            step_begun = perf_counter()
            survey = yield from self._engine.survey(
                cursor, _KEYS_PER_STEP, self._match, indexes_only=indexes_only
            )
            took = perf_counter() - step_begun
            yield from self._work_off(survey)
            seen += survey.keys
            self._result.keys_scanned += 0 if indexes_only else survey.keys
            if self._progress is not None:
                self._progress(Progress(seen, max(int(total), seen)))
            yield from self._rest(took, seen, perf_counter() - begun)
            cursor = survey.cursor
            if cursor == 0:
                break
        # Not before: what is on its way is told by the newest checkpoint that the index knows.
        yield from self._clean()

    def _work_off(self, survey: Survey) -> Steps[None]:
        for documents in chunks(survey.documents, DOCUMENTS_PER_CALL):
            self._new_documents = True
            yield from self._engine.track(documents)
        self._remains.extend(survey.remains)
        self._pointers.extend(survey.pointers)
        if len(self._remains) + len(self._pointers) > _REMEMBERED:
            yield from self._clean()
        for indexed in survey.indexes:
            if self._second_pass or not self._new_documents:
                yield from self._trim(indexed)

    def _clean(self) -> Steps[None]:
        remains: defaultdict[bytes, dict[bytes, list[bytes]]] = defaultdict(dict)
        for thread, suffix, *writes in self._remains:
            remains[thread].setdefault(suffix, []).extend(writes)
        pointers: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for thread, pointer in self._pointers:
            pointers[thread].append(pointer)
        self._remains.clear()
        self._pointers.clear()
        for thread in remains.keys() | pointers.keys():
            groups = [Remains(suffix, writes) for suffix, writes in remains[thread].items()]
            cleaned, _ = yield from self._engine.clean(
                thread,
                groups,
                pointers[thread],
                older_than_ms=self._older_than_ms,
                patient=True,
            )
            self._result.checkpoints_deleted += cleaned.checkpoints
            self._result.keys_deleted += cleaned.keys

    def _trim(self, indexed: Indexed) -> Steps[None]:
        self._result.threads += 1
        if indexed.stale:
            yield from self._mend(indexed.thread)
        rule = self._rule_for(indexed.thread)
        if rule is None or not _may_have_to_go(indexed, rule):
            self._result.checkpoints_kept += indexed.checkpoints
            return
        trimmed = yield from self._engine.trim(
            indexed.thread, rule.policy, complete=self._second_pass
        )
        self._result.checkpoints_kept += trimmed.left
        self._result.checkpoints_deleted += trimmed.deleted.checkpoints
        self._result.keys_deleted += trimmed.deleted.keys
        if trimmed.deleted.keys and indexed.thread not in self._trimmed:
            self._result.threads_trimmed += 1
            if not self._second_pass:
                self._trimmed.add(indexed.thread)

    def _mend(self, thread: bytes) -> Steps[None]:
        """Take out of an index what others have deleted."""
        documents = yield from self._engine.entries(thread)
        for some in chunks(documents, DOCUMENTS_PER_CALL):
            yield from self._engine.forget(some)

    def _rule_for(self, thread: bytes) -> Rule | None:
        return next(iter(matching(self._rules, thread)), None)

    def _rest(self, took: float, seen: int, elapsed: float) -> Steps[None]:
        seconds = 0.0
        if took > _BUSY_SECONDS:
            seconds = min(took * _REST_PER_SECOND_BUSY, _LONGEST_REST_SECONDS)
        if self._max_keys_per_second is not None:
            seconds = max(seconds, seen / self._max_keys_per_second - elapsed)
        if seconds > 0:
            yield Pause(seconds)


def refuse_cluster() -> Steps[None]:
    """Make sure that the server is a single one.

    Raises:
        RetentionError: It is a cluster, in which a script may not look at all keys.
    """
    if (yield Nodes()) != [None]:
        raise RetentionError("a cluster cannot be swept: trim its threads by name")


def _may_have_to_go(indexed: Indexed, rule: Rule) -> bool:
    """Whether a trim could find anything: it costs ten times as much as a look."""
    if rule.policy.expire_after is not None:
        return True
    return is_over(indexed.checkpoints, rule)


def is_over(checkpoints: int, rule: Rule) -> bool:
    """Whether a thread has more checkpoints than the trigger or, without one, than are kept."""
    allowed = rule.policy.keep_last if rule.trigger is None else rule.trigger
    return allowed is not None and checkpoints > allowed
