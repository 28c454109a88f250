"""A network that is a little slow: a TCP proxy that holds back every byte, each way."""

from __future__ import annotations

import socket
import threading
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import SimpleQueue

_CHUNK = 1 << 18

_Parcels = SimpleQueue[tuple[float, bytes]]


class SlowNetwork:
    """Listens on a loopback port and hands on to another, as a context manager.

    Each chunk of bytes goes out `delay_ms` after it has come in, in either direction; chunks do
    not wait for each other, so the throughput stays that of the loopback. It is a process of its
    own, and asleep while it waits.
    """

    def __init__(self, target: int, delay_ms: float) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (target, delay_ms / 1000, theirs)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self.port = 0

    def __enter__(self) -> SlowNetwork:
        self._process.start()
        self.port = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(target: int, delay: float, pipe: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", target))
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                parcels: _Parcels = SimpleQueue()
                _start(_receive, one, parcels, delay)
                _start(_send, other, parcels)


def _start(work: object, *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]


def _receive(source: socket.socket, parcels: _Parcels, delay: float) -> None:
    while True:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        parcels.put((time.monotonic() + delay, data))
        if not data:
            return


def _send(target: socket.socket, parcels: _Parcels) -> None:
    while True:
        due, data = parcels.get()
        time.sleep(max(due - time.monotonic(), 0))
        try:
            if not data:
                target.shutdown(socket.SHUT_WR)
                return
            target.sendall(data)
        except OSError:
            return
