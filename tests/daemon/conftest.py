from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.daemon.service import Service
from tests.servers.start import Server

POLICY = ("--keep-last", "10", "--trigger", "30")


@pytest.fixture
def service() -> Iterator[Callable[..., Service]]:
    """Starts services, with the usual policy; they are killed after the test."""
    with ExitStack() as running:

        def start(server: Server | str, *arguments: str, command: str = "run") -> Service:
            url = server if isinstance(server, str) else server.url
            return running.enter_context(
                Service("--url", url, *(arguments or POLICY), "--verbose", command=command)
            )

        yield start
