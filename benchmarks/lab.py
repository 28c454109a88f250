"""One server with what measures it: the client under test, a bare socket, the saver, the clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import redis
from langgraph.checkpoint.redis import RedisSaver

from benchmarks.fill import Filled, check_against_saver
from benchmarks.measure import Meter, Sample, counted_client, keep_garbage, settle
from benchmarks.wire import Wire
from redis_retention.engine import Engine
from tests.servers.start import Server

_KEYS_PER_CALL = 500

Say = Callable[[str], None]


class Lab:
    """A running server and everything that is needed to measure on it.

    Args:
        server: The server.
        port: Where the client under test connects, when something lies in between.
        collecting: Whether RediSearch collects garbage whenever it likes to.
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
        for one in (self.admin, self.client, self.wire, self.direct):
            one.close()

    def clear(self) -> None:
        """Empty the database; the saver's indexes are made anew."""
        self.admin.flushall()
        self._set_up()

    def measure(self, action: Callable[[], object], trips: int | None = None) -> Sample:
        """Measure once, when the server is at rest."""
        settle(self.admin)
        # A connection that was idle may need to be made anew.
        self.client.ping()
        return self._meter.measure(action, trips)

    def check(self, thread: Filled, keep: int) -> None:
        """Make sure that exactly the newest `keep` checkpoints of a thread are left.

        Raises:
            RuntimeError: They are not: the measurement means nothing.
        """
        left = self._existing(thread.victims(keep))
        kept = self._existing(thread.survivors(keep))
        if left or kept != len(thread.survivors(keep)):
            raise RuntimeError(f"{left} keys are left that had to go, {kept} are kept")

    def remove(self, thread: Filled) -> None:
        """Delete all of a thread, and what we know of it."""
        keys: list[bytes | str] = [key for some in thread.checkpoints for key in some]
        keys += [f"checkpoint_latest:{thread.name}:__empty__"]
        keys += [Engine().index_key(thread.name.encode())]
        for some in _parts(keys):
            self.admin.unlink(*some)

    def _set_up(self) -> None:
        self.saver.setup()
        if not self._collecting:
            keep_garbage(self.admin)

    def _existing(self, keys: Sequence[bytes]) -> int:
        return sum(int(self.admin.exists(*some)) for some in _parts(keys))


def _parts(keys: Sequence[bytes | str]) -> Iterator[Sequence[bytes | str]]:
    for at in range(0, len(keys), _KEYS_PER_CALL):
        yield keys[at : at + _KEYS_PER_CALL]


@contextlib.contextmanager
def opened(server: str, *, collecting: bool = False) -> Iterator[Lab]:
    """A lab with a server of its own, empty."""
    with Server(server) as running:
        lab = Lab(running, collecting=collecting)
        try:
            check_against_saver(lab.admin, lab.direct)
            yield lab
        finally:
            lab.close()
