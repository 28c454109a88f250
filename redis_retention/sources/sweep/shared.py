"""What all parts of a sweep share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as NoReplyError

from redis_retention import glob
from redis_retention.engine import Deleted, Engine, Rule, Trimmed
from redis_retention.errors import Refusals, RetentionError, is_of_one_thread, is_script_error
from redis_retention.policies import rule_for
from redis_retention.policy import Policy
from redis_retention.sans_io import Operation, T
from redis_retention.sources.shared_keys import SharedKeysLeft
from redis_retention.sources.sweep.known import Known, State
from redis_retention.sources.sweep.progress import SweepResult


class Shared:
    """What one sweep has done, what it knows, and what failed.

    Args:
        engine: What to do with a thread.
        rules: The first whose pattern matches a thread counts for it.
        match: A glob for the threads to look at.

    Attributes:
        shared_keys_left: The threads of which shared keys may be left.
        second_pass: This is the second pass.
        needs_second_pass: Something was met that only a second pass can bring to an end.
    """

    def __init__(self, engine: Engine, rules: Sequence[Rule], match: bytes) -> None:
        self.engine = engine
        self.match = match
        self.wanted = glob.parse(match).matches
        self.known = Known()
        self.refusals = Refusals()
        self.result = SweepResult(refused=self.refusals.reasons)
        self.shared_keys_left = SharedKeysLeft(engine)
        self.second_pass = False
        self.needs_second_pass = False
        self._rules = rules
        # Threads that the first pass has trimmed, so that none is counted twice.
        self._trimmed: set[bytes] = set()

    def rule(self, thread: bytes) -> Rule | None:
        """The rule that counts for a thread, None when there is none."""
        return rule_for(self._rules, thread)

    # --- what fails -------------------------------------------------------------------------------

    def refuse(self, thread: bytes, reason: str) -> None:
        """Leave a thread alone from now on."""
        self.refusals.add(thread, reason)
        self.known.set(thread, State.UNWANTED)

    def attempt(self, thread: bytes, operation: Operation[T], otherwise: T) -> Operation[T]:
        """Run an operation on a thread; if it fails, leave the thread alone and go on.

        Raises:
            redis.exceptions.RedisError: It fails with all threads.
        """
        dropping = self._dropping(thread, operation)
        result = yield from self.refusals.attempt(thread, dropping, otherwise)
        if thread in self.result.refused:
            self.known.set(thread, State.UNWANTED)
        return result

    def _dropping(self, thread: bytes, operation: Operation[T]) -> Operation[T]:
        """Drop an index on which the scripts fail: the next sweep builds it anew."""
        try:
            return (yield from operation)
        except ResponseError as error:
            if is_script_error(error):
                yield from self.engine.drop_index(thread)
            raise

    def attempt_each(
        self, items: Sequence[bytes], do: Callable[[Sequence[bytes]], Operation[None]]
    ) -> Operation[None]:
        """Do something with keys of several threads; what fails with one costs no other."""
        try:
            yield from do(items)
        except (ResponseError, NoReplyError, RetentionError) as error:
            if not is_of_one_thread(error):
                raise
            if len(items) == 1:
                yield from self.refusals.attempt(items[0], do(items), None)
                return
            middle = len(items) // 2
            yield from self.attempt_each(items[:middle], do)
            yield from self.attempt_each(items[middle:], do)

    # --- what is done -----------------------------------------------------------------------------

    def trim(
        self,
        thread: bytes,
        policy: Policy,
        *,
        complete: bool,
        names: Sequence[bytes] | None = None,
    ) -> Operation[Trimmed]:
        """Trim a thread by its index, and count what was deleted; see `Engine.trim`."""
        operation = self.engine.trim(thread, policy, complete=complete, names=names)
        trimmed = yield from self.attempt(thread, operation, Trimmed())
        self.result.checkpoints_deleted += trimmed.deleted.checkpoints
        self.result.keys_deleted += trimmed.deleted.keys
        self.result.bytes_deleted += trimmed.deleted.bytes
        if trimmed.deleted.checkpoints:
            self.shared_keys_left.add(thread)
        if trimmed.deleted.keys and thread not in self._trimmed:
            self.result.threads_trimmed += 1
            if not self.second_pass:
                self._trimmed.add(thread)
        return trimmed

    def count_shared_keys(self, deleted: Mapping[bytes, Deleted]) -> None:
        """Count the shared keys that were deleted of some threads."""
        for thread, its in deleted.items():
            self.result.keys_deleted += its.keys
            self.result.bytes_deleted += its.bytes
            self.result.threads_trimmed += its.keys > 0 and thread not in self._trimmed
