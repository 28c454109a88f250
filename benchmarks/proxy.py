"""A network that is a little slow: a TCP proxy that holds back every byte, each way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

_CHUNK = 1 << 18


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
        self._process = context.Process(target=_run, args=arguments, daemon=True)
        self.port = 0

    def __enter__(self) -> SlowNetwork:
        self._process.start()
        self.port = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _run(target: int, delay: float, pipe: Connection) -> None:
    asyncio.run(_serve(target, delay, pipe.send))


async def _serve(target: int, delay: float, tell_port: Callable[[int], None]) -> None:
    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(_hand_on(reader, far_writer), _hand_on(far_reader, writer))

    async def _hand_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(_CHUNK):
            loop.call_later(delay, sink.write, data)
        loop.call_later(delay, sink.close)

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    tell_port(server.sockets[0].getsockname()[1])
    await server.serve_forever()
