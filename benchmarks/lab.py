"""One server with what measures it: the client under test, a bare socket, the saver, the clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import redis
from langgraph.checkpoint.redis import RedisSaver
from redis.exceptions import ResponseError

from benchmarks.fill import SIZES, Filled, check_against_saver, fill_thread
from benchmarks.measure import Meter, Sample, counted_client
from benchmarks.wire import Wire
from redis_retention.engine import Engine
from tests.servers.start import Server

KEEP = 10
"""Checkpoints that every trim keeps."""

_INDEXES = ("checkpoint", "checkpoint_write")
_KEYS_PER_CALL = 500
_SETTLE_SECONDS = 0.05

Say: TypeAlias = Callable[[str], None]


class Lab:
    """A running server and everything that is needed to measure on it.

    Args:
        server: The server.
        port: Where the client under test connects, when something lies in between.
        collecting: Whether RediSearch collects garbage whenever it likes to. It does so in a fork,
            every 30 s after something was deleted: that would hit one measurement, not the other.
    """

    def __init__(
        self, server: Server, port: int | None = None, *, collecting: bool = False
    ) -> None:
        self.server = server
        self._collecting = collecting
        self.admin: redis.Redis = server.client(socket_timeout=600)
        self.direct = Wire(server.port)
        self.client = counted_client(port or server.port)
        self.wire = Wire(port or server.port)
        self.saver = RedisSaver(redis_client=self.client)
        self._set_up()
        self._meter = Meter(self.admin)

    def close(self) -> None:
        """Close all connections."""
        for one in (self.admin, self.client, self.wire, self.direct):
            one.close()

    def clear(self) -> None:
        """Empty the database; the saver's indexes are made anew."""
        self.admin.flushall()
        self._set_up()

    def settle(self) -> None:
        """Let the server finish what it does by itself, so that no measurement pays for it."""
        self.collect_garbage()
        while self.admin.info("memory")["lazyfree_pending_objects"]:
            time.sleep(0.001)
        time.sleep(_SETTLE_SECONDS)

    def collect_garbage(self) -> None:
        """Let RediSearch collect its garbage now."""
        self._of_each_index("GC_FORCEINVOKE")

    def measure(self, action: Callable[[], object]) -> Sample:
        """Measure once, when the server is at rest."""
        self.settle()
        # A connection that was idle may need to be made anew.
        self.client.ping()
        return self._meter.measure(action)

    @contextlib.contextmanager
    def thread(
        self, count: int, sizes: tuple[int, int] = SIZES, *, keep: int = KEEP
    ) -> Iterator[Filled]:
        """A thread that is written, and checked and removed at the end.

        Raises:
            RuntimeError: Not exactly the newest `keep` checkpoints are left at the end: what was
                measured means nothing.
        """
        thread = fill_thread(self.direct, "chat", count, sizes)
        yield thread
        self.check(thread, keep)
        keys: list[bytes] = [key for some in thread.checkpoints for key in some]
        keys += [f"checkpoint_latest:{thread.name}:__empty__".encode()]
        keys += [Engine().index_key(thread.name.encode())]
        for some in _parts(keys):
            self.admin.unlink(*some)

    def check(self, thread: Filled, keep: int) -> None:
        """Make sure that exactly the newest `keep` checkpoints of a thread are left."""
        left = self._existing(thread.victims(keep))
        kept = self._existing(thread.survivors(keep))
        if left or kept != len(thread.survivors(keep)):
            raise RuntimeError(f"{left} keys are left that had to go, {kept} are kept")

    def _set_up(self) -> None:
        if self.server.has_search:
            self.saver.setup()
        if not self._collecting:
            self._of_each_index("GC_STOP_SCHEDULE")

    def _of_each_index(self, what: str) -> None:
        for index in _INDEXES:
            # Some servers do not let it be asked for, or have no RediSearch.
            with contextlib.suppress(ResponseError):
                self.admin.execute_command("FT.DEBUG", what, index)  # type: ignore[no-untyped-call]

    def _existing(self, keys: Sequence[bytes]) -> int:
        return sum(int(self.admin.exists(*some)) for some in _parts(keys))


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(keys), _KEYS_PER_CALL):
        yield keys[at : at + _KEYS_PER_CALL]


@contextlib.contextmanager
def opened(server: str, *, collecting: bool = False) -> Iterator[Lab]:
    """A lab with a server of its own, empty."""
    with Server(server) as running:
        lab = Lab(running, collecting=collecting)
        try:
            if running.has_search:
                check_against_saver(lab.admin, lab.direct)
            yield lab
        finally:
            lab.close()
