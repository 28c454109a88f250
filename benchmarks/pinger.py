"""A second client in a process of its own, that sends PING and notes how long each takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks.wire import Wire, pack

# Between two of them, so that the server's other client is not kept from it by the PINGs.
_PAUSE_SECONDS = 0.0001
_AROUND_SECONDS = 0.005


class Pinger:
    """Sends PING all the time, as a context manager; only the longest wait of a span is kept."""

    def __init__(self, port: int) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_ping, args=(port, theirs), daemon=True)

    def __enter__(self) -> Pinger:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send("end")
        self._process.join(10)
        self._process.kill()

    def worst_during(self, action: Callable[[], object]) -> float:
        """The longest that a PING took while something was done, in milliseconds."""
        self._pipe.send("begin")
        self._pipe.recv()
        time.sleep(_AROUND_SECONDS)
        action()
        self._pipe.send("tell")
        worst: float = self._pipe.recv()
        return worst


def _ping(port: int, pipe: Connection) -> None:
    wire, ping = Wire(port), pack("PING")
    wire.ask(ping)
    pipe.send("ready")
    worst = 0.0
    while True:
        if pipe.poll():
            order = pipe.recv()
            if order == "end":
                return
            pipe.send(worst * 1000)
            worst = 0.0
        begun = time.perf_counter()
        wire.ask(ping)
        worst = max(worst, time.perf_counter() - begun)
        time.sleep(_PAUSE_SECONDS)
