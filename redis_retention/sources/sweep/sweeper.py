"""A sweep: one pass over the database, or two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

from redis_retention.engine import ORPHAN_AGE_MS, Engine, Rule
from redis_retention.layouts import too_long
from redis_retention.sans_io import Operation, command
from redis_retention.sources.scan import each_page, refuse_cluster
from redis_retention.sources.sweep.indexed import IndexedThreads
from redis_retention.sources.sweep.known import Known, State
from redis_retention.sources.sweep.listed import ListedThreads
from redis_retention.sources.sweep.new import NewThreads
from redis_retention.sources.sweep.orphans import Orphans
from redis_retention.sources.sweep.others import Others
from redis_retention.sources.sweep.pages import PageSorter
from redis_retention.sources.sweep.progress import Pace, Progress, Stage, SweepResult
from redis_retention.sources.sweep.shared import Shared

_MOST_PINNED = 10_000


class Sweeper:
    """One sweep.

    Args:
        engine: What to do with a thread.
        rules: The first whose pattern matches a thread counts for it; threads that none matches
            are indexed and left alone.
        match: A glob for the threads to look at.
        max_keys_per_second: Look at no more keys than this.
        older_than_ms: Milliseconds after which an orphan is deleted.
        progress: Is notified how far the sweep has come.
        others: The other storage formats: keys that can only be theirs are not looked at.
    """

    def __init__(
        self,
        engine: Engine,
        rules: Sequence[Rule],
        *,
        match: bytes = b"*",
        max_keys_per_second: int | None = None,
        older_than_ms: int = ORPHAN_AGE_MS,
        progress: Callable[[Progress], None] | None = None,
        others: Others | None = None,
    ) -> None:
        self._engine = engine
        self._others = others or Others()
        self._shared = Shared(engine, rules, match)
        self._pace = Pace(max_keys_per_second, progress)
        self._pages = PageSorter(engine, self._others)
        self._orphans = Orphans(self._shared, older_than_ms)
        self._indexed = IndexedThreads(self._shared)
        self._listed = ListedThreads(self._shared)
        self._new = NewThreads(self._shared, self._orphans, self._pace)
        self._older_than_ms = older_than_ms
        # Keys of the database.
        self._total = 0
        self._pinned: set[bytes] = set()

    def sweep(self) -> Operation[SweepResult]:
        """Sweep once.

        Raises:
            RetentionError: The server is a cluster, in which a script may not look at all keys.
        """
        begun = perf_counter()
        yield from refuse_cluster()
        yield from self._engine.check_server()
        yield from self._pass()
        if self._shared.needs_second_pass:
            self._shared.second_pass = True
            yield from self._pass()
        yield from self._delete_unneeded()
        result = self._shared.result
        if not result.refused:
            result.indexed.add(self._engine)
        result.elapsed_ms = (perf_counter() - begun) * 1000
        return result

    def _pass(self) -> Operation[None]:
        result, again = self._shared.result, self._shared.second_pass
        stage = Stage.LOOKING_AGAIN if again else Stage.LOOKING
        result.threads = result.checkpoints_kept = 0
        self._shared.known = Known()
        self._total = total = int((yield from command("DBSIZE")))
        seen = 0
        self._pace.begin()

        def work_off(keys: Sequence[bytes], took: float) -> Operation[None]:
            nonlocal seen
            yield from self._work_off(keys)
            seen += len(keys)
            result.keys_scanned += 0 if again else len(keys)
            yield from self._pace.rest(took, Progress(seen, max(total, seen), stage))

        yield from each_page(work_off)
        yield from self._new.work_off()
        yield from self._indexed.finish()
        # Not before: only what is older than the newest checkpoint in the index is an orphan.
        yield from self._orphans.delete()
        yield from self._forget_threads()

    def _work_off(self, keys: Sequence[bytes]) -> Operation[None]:
        known, again = self._shared.known, self._shared.second_pass
        page = self._pages.sort(keys, known)
        yield from self._others.ask()
        for key in page.too_long:
            excess = too_long(key)
            if excess is not None:
                self._shared.refusals.add(*excess)
        if self._engine.layout.lists_itself:
            page.pinned.extend(page.indexed)
        self._pinned.update(page.pinned[: _MOST_PINNED - len(self._pinned)])
        if self._engine.layout.lists_itself:
            yield from self._listed.work_off(page.others)
            return
        yield from self._indexed.meet(page)
        for thread in page.sharing:
            if thread not in known.states:
                self._shared.shared_keys_left.add_named(thread)
        inspected = page.others
        for root, key in page.roots:
            state = known.state(root.thread)
            if state is State.NEW and not again:
                self._new.add(root)
            elif state is not State.UNWANTED and hash(root.suffix) not in known.checkpoints:
                inspected.append(key)
        for root, key in page.pointers:
            state = known.state(root.thread)
            if state is State.NEW and not again:
                self._new.add_pointer(root.thread, key)
            elif state not in (State.KNOWN, State.UNWANTED):
                # A sweep does not check the pointer of a thread that has checkpoints.
                inspected.append(key)
        yield from self._orphans.inspect(inspected)
        yield from self._new.index_if_too_many()

    def _delete_unneeded(self) -> Operation[None]:
        """Delete the shared keys that no checkpoint needs any more, by a look of its own."""
        total = self._total
        deleted = yield from self._shared.shared_keys_left.delete_unneeded(
            self._shared.known.states.__contains__,
            self._shared.wanted,
            self._older_than_ms,
            lambda keys: self._pace.tell(Progress(min(keys, total), total, Stage.SHARED_KEYS)),
        )
        self._shared.count_shared_keys(deleted)

    def _forget_threads(self) -> Operation[None]:
        """Delete what is ours of threads that are gone: by now, all others have an index."""
        while self._pinned:
            thread = self._pinned.pop()
            if self._shared.wanted(thread):
                operation = self._engine.forget_thread(thread)
                yield from self._shared.attempt(thread, operation, None)
        for engine, thread in self._others.unused_pins():
            yield from self._shared.attempt(thread, engine.forget_thread(thread), None)
