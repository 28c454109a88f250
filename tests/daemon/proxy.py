"""A TCP proxy that can be cut, as a network can."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from tests.servers.start import free_port


class Proxy:
    """Hands bytes on to a port, in a thread of its own, as a context manager."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._silent = False
        self._delay = 0.0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Proxy:
        self._thread.start()
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """Close all connections, and take no new ones."""
        self._do(self._cut())

    def mend(self) -> None:
        """Take connections again."""
        self._silent = False
        self._do(self._listen())

    def silence(self) -> None:
        """Keep the connections and let nothing through, as when a cable is pulled."""
        self._silent = True

    def move(self, port: int) -> None:
        """Lead new connections elsewhere, and keep those that there are."""
        self._target = port

    def slow(self, seconds: float) -> None:
        """Let everything wait for so long, as on a line that is too long or too full."""
        self._delay = seconds

    def _do(self, what: object) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)

    async def _cut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            back, out = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._pump(reader, out), self._pump(back, writer))
            finally:
                out.close()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._connections.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                await asyncio.sleep(self._delay)
                if not self._silent:
                    sink.write(data)
                    await sink.drain()
        sink.close()
