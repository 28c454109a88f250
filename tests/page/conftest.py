"""A real browser on the page of a real service."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import redis
import redis.asyncio
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

from redis_retention import Policy
from redis_retention.http.access import Access
from redis_retention.http.app import application
from redis_retention.http.backend import Backend
from redis_retention.http.serving import bind, serving
from tests.page import chromium
from tests.servers.fetch import ServerUnavailable
from tests.servers.start import Server

PATIENCE_SECONDS = 20.0

expect.set_options(PATIENCE_SECONDS * 1000)

Opened = Callable[..., Page]
Serve = Callable[..., str]


@contextmanager
def served(app: Callable[[redis.asyncio.Redis], ASGIApp], server: Server) -> Iterator[str]:
    """Serve an application in a thread; gives its address."""
    ready: queue.Queue[tuple[int, Callable[[], object]]] = queue.Queue()

    async def serve() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        async with redis.asyncio.Redis.from_url(server.url) as client:
            listening = bind("127.0.0.1", 0, "--http")
            async with serving(app(client), listening, "the page") as port:
                ready.put((port, lambda: loop.call_soon_threadsafe(stop.set)))
                await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    port, end = ready.get(timeout=PATIENCE_SECONDS)
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        end()
        thread.join()


@pytest.fixture
def serve(redis_stack: Server) -> Iterator[Serve]:
    """Serves the page with these options; gives its address."""
    with ExitStack() as stack:

        def serve(policy: Policy | None = None, below: str = "", **access: Any) -> str:
            def app(client: redis.asyncio.Redis) -> ASGIApp:
                made = application(Backend(client, policy), Access(**access))
                return Starlette(routes=[Mount(below, made)]) if below else made

            address = stack.enter_context(served(app, redis_stack))
            return f"{address}{below.lstrip('/')}"

        yield serve


# Of a module and no longer: while it runs, no asynchronous test can.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips the test where there is none, except in CI."""
    try:
        found = chromium.fetch()
    except ServerUnavailable as unavailable:
        if os.environ.get("CI"):
            pytest.fail(f"CI has a browser, but {unavailable}")
        pytest.skip(str(unavailable))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.program,
            env=dict(found.environment),
            # Without root there is no sandbox to be had in a container.
            args=["--no-sandbox"],
        )
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser has complained of; at the end of a test there must be nothing left."""
    return []


@pytest.fixture
def opened(browser: Browser, complaints: list[str], serve: Serve) -> Iterator[Opened]:
    """Opens an address in a browser of its own, and waits until all is shown.

    It is closed before what is served: a page that is shown goes on asking.
    """
    contexts = []

    def open(
        address: str,
        *,
        loaded: bool = True,
        before: Callable[[Page], None] = lambda _: None,
        **options: Any,
    ) -> Page:
        options = {"viewport": {"width": 1280, "height": 900}, "locale": "en-GB", **options}
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        before(page)
        page.goto(address)
        if loaded:
            page.wait_for_selector("body[data-loaded=true]")
        return page

    yield open
    for context in contexts:
        context.close()
    assert complaints == []
