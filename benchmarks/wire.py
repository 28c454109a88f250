"""A bare socket, and commands packed before the clock starts: no client costs anything here."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from benchmarks.measure import Trips

LINE = b"\r\n"
END = LINE[-1:]
KEYS_PER_SCAN = 1000


def pack(*words: bytes | str | int) -> bytes:
    """A command as it goes over the wire."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
    return b"".join(parts)


class Wire:
    """Sends packed commands and takes their replies, with as little work as there can be."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=600)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._socket.close()

    def ask(self, packed: bytes, lines: int = 1) -> bytes:
        """Send commands whose replies have so many lines altogether, and return these.

        Raises:
            RuntimeError: The server refused one of them, or is gone.
        """
        Trips.count += 1
        self._socket.sendall(packed)
        reply = self._read(lines)
        if reply.startswith(b"-") or b"\r\n-" in reply:
            raise RuntimeError(f"the server refused: {reply[:200]!r}")
        return reply

    def scan(self) -> None:
        """Look at every key once, with nothing done to it."""
        cursor = b""
        while cursor != b"0":
            Trips.count += 1
            self._socket.sendall(pack("SCAN", cursor or 0, "COUNT", KEYS_PER_SCAN))
            cursor = self._take_page()

    def _take_page(self) -> bytes:
        """Read one reply to SCAN, whose keys have no line breaks; only the cursor is looked at."""
        page = self._receive()
        while page.count(END) < 4:
            page += self._receive()
        cursor, count = page.split(LINE, 4)[2:4]
        self._read(4 + 2 * int(count[1:]) - page.count(END))
        return cursor

    def _read(self, lines: int) -> bytes:
        parts = []
        while lines > 0:
            part = self._receive()
            lines -= part.count(END)
            parts.append(part)
        return b"".join(parts)

    def _receive(self) -> bytes:
        part = self._socket.recv(1 << 18)
        if not part:
            raise RuntimeError("the server has closed the connection")
        return part


def batches(commands: Iterable[bytes], count: int) -> Iterable[tuple[bytes, int]]:
    """Packed commands with replies of one line, so many in one go, and how many these are."""
    some: list[bytes] = []
    for command in commands:
        some.append(command)
        if len(some) == count:
            yield b"".join(some), len(some)
            some = []
    if some:
        yield b"".join(some), len(some)
