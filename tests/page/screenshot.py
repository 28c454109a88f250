"""The README's picture of the page: threads that a saver writes, and that a daemon trims meanwhile.

As a program: ``python -m tests.page.screenshot [FILE]``. All is real but for the clock of the
history, by which the writing takes an hour.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

import redis
import redis.asyncio
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.redis import RedisSaver
from playwright.async_api import async_playwright

from redis_retention import Policy, Retention
from redis_retention.engine import Engine
from redis_retention.http.access import Access
from redis_retention.http.app import application
from redis_retention.http.backend import Backend
from redis_retention.http.history import History
from redis_retention.http.serving import bind, serving
from redis_retention.service.daemon import Daemon
from redis_retention.service.rules import Options
from redis_retention.service.schedule import Schedule
from redis_retention.sources.sweep import Sweeper
from tests.page import chromium
from tests.servers.start import Server

FILE = Path(__file__).parents[2] / "docs" / "page.png"
SHOWN = "support-4711"
SHOWN_STEPS = 27
OTHERS = (
    *("research-eu", "dora", "team/alpha/42", "onboarding-2026-11", "night-batch", "ümläut"),
    *(f"user-{number}" for number in range(7, 60, 2)),
)
SAMPLES, APART_SECONDS = 240, 15.0
STEPS_PER_SAMPLE = 5
WIDTH, HEIGHT = 1280, 1130


@dataclass
class Clock:
    """The clock of the history: an hour ago when it starts, now when it ends."""

    began: datetime
    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self.began + timedelta(seconds=self.seconds)


@dataclass
class Chats:
    """Writes conversations whose state grows with each step."""

    saver: RedisSaver
    random: random.Random = field(default_factory=lambda: random.Random(11))
    steps: dict[str, int] = field(default_factory=dict)
    configs: dict[str, RunnableConfig] = field(default_factory=dict)

    def some(self) -> None:
        """Some steps, of some threads more than of others."""
        weights = [1 / (1 + place % 9) for place in range(len(OTHERS))]
        for name in self.random.choices(OTHERS, weights, k=STEPS_PER_SAMPLE):
            self.step(name)

    def step(self, name: str) -> str:
        """One checkpoint and its write; answers its id."""
        number = self.steps.get(name, 0)
        words = 12 + 6 * (sum(name.encode()) % 9)
        messages = [f"{at}: {'what was said ' * words}" for at in range(1 + number // 2)]
        checkpoint = Checkpoint(
            v=4,
            id=str(uuid6(clock_seq=number)),
            ts=datetime.now(timezone.utc).isoformat(),
            channel_values={"messages": messages},
            channel_versions={"messages": str(number)},
            versions_seen={},
            updated_channels=None,
        )
        place: RunnableConfig = {"configurable": {"thread_id": name, "checkpoint_ns": ""}}
        source = "input" if number % 3 == 0 else "loop"
        after = self.saver.put(
            self.configs.get(name, place),
            checkpoint,
            {"source": source, "step": number, "parents": {}},  # type: ignore[typeddict-item]
            {},
        )
        self.saver.put_writes(after, [("messages", "hi")], str(uuid4()))
        self.steps[name], self.configs[name] = number + 1, after
        return checkpoint["id"]

    def shown(self) -> str:
        """The thread whose plan is shown; answers the id of one of its checkpoints."""
        return [self.step(SHOWN) for _ in range(SHOWN_STEPS)][4]


@asynccontextmanager
async def daemon_with_page(server: Server, clock: Clock) -> AsyncIterator[tuple[str, History]]:
    """A daemon on a server, with its page; gives its address and its history."""
    engine = Engine(estimate_memory=True)
    daemon = Daemon(
        redis.asyncio.Redis.from_url(server.url),
        engine,
        Options(schedule=Schedule(every=timedelta(hours=1))),
        lambda rules, _: Sweeper(engine, rules).sweep(),
    )
    async with redis.asyncio.Redis.from_url(server.url) as client:
        backend = Backend(client)
        history = History(backend, clock, clock.now)
        app = application(backend, Access(), daemon, history)
        running = asyncio.create_task(daemon.run())
        async with serving(app, bind("127.0.0.1", 0, "--http"), "the page") as port:
            while not daemon.activity.sweep_finished:
                await asyncio.sleep(0.05)
            yield f"http://127.0.0.1:{port}/", history
        running.cancel()
        await asyncio.wait({running})


async def picture(file: Path) -> None:
    """Write the picture."""
    clock = Clock(datetime.now(timezone.utc) - timedelta(seconds=SAMPLES * APART_SECONDS))
    with Server("redis-stack") as server:
        client = server.client()
        retention = Retention(client)
        retention.set_policy(Policy(keep_last=10), trigger=30)
        users = Policy(keep_last=5, keep_runs=3, expire_after=timedelta(days=90))
        retention.set_policy(users, "user-*", trigger=12)
        saver = RedisSaver(redis_client=client)
        saver.setup()
        chats = Chats(saver)
        async with daemon_with_page(server, clock) as (address, history):
            pinned = await asyncio.to_thread(chats.shown)
            retention.pin(SHOWN, pinned, note="the complaint of May")
            for _ in range(SAMPLES):
                await asyncio.to_thread(chats.some)
                clock.seconds += APART_SECONDS
                await history.sample()
            await shoot(f"{address}#thread/{SHOWN}", file)


async def shoot(address: str, file: Path) -> None:
    """Open an address in the browser, and take the picture of it."""
    found = chromium.fetch()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found.program, env=dict(found.environment), args=["--no-sandbox"]
        )
        page = await browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            locale="en-GB",
            timezone_id="UTC",
            color_scheme="light",
        )
        await page.goto(address)
        await page.wait_for_selector(".line")
        await page.screenshot(path=file)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(picture(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE))
