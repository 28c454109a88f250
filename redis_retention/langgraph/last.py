"""Takes over the last command of a saver's put, so that others can be sent along with it.

A put writes the document, and then sets the pointer. Where the put is to trim as well, both go in
one round trip. All else that the saver asks of its client is done by the client.
"""

from __future__ import annotations

from typing import Any

from redis_retention.sans_io import Command


class Last:
    """Stands for a client during one put."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.commands: list[Command] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def set(self, key: Any, value: Any, **options: Any) -> Any:
        """Keep a plain SET for later."""
        if not options and self._keeps("SET", key, value):
            return self._done()
        return self._client.set(key, value, **options)

    def expire(self, key: Any, seconds: Any, **options: Any) -> Any:
        """Keep the TTL of what is set later."""
        if not options and self._keeps("EXPIRE", key, seconds):
            return self._done()
        return self._client.expire(key, seconds, **options)

    def _keeps(self, *words: Any) -> bool:
        """Whether a command is kept for later: a pointer is set, or expires that was just set."""
        if not all(isinstance(word, str | bytes | int) for word in words):
            return False
        if words[0] == "EXPIRE" and not any(
            words[1] == kept.arguments[1] for kept in self.commands
        ):
            return False
        self.commands.append(Command(words))
        return True

    def _done(self) -> Any:
        return True


class AsyncLast(Last):
    """Stands for an asynchronous client, of which each answer is awaited."""

    async def _done(self) -> bool:
        return True
