"""A large backlog, swept while the application goes on writing into it."""

from __future__ import annotations

import threading
from datetime import timedelta

import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention import Policy, Retention
from tests.graphs.scenarios import Chat
from tests.integration.threads import fill_fast

THREADS, EACH, KEEP = 150, 36, 10
BUSY = 4


def test_every_thread_of_a_backlog_is_right_though_writers_write(client: redis.Redis) -> None:
    RedisSaver(redis_client=client).setup()
    for number in range(THREADS):
        fill_fast(client, f"idle:{number}", EACH)
    chats = [Chat(turns=6) for _ in range(BUSY)]
    savers = [RedisSaver(redis_client=client) for _ in range(BUSY)]
    seen: list[list[object]] = [[] for _ in range(BUSY)]

    def talk(number: int) -> None:
        saver = savers[number]
        saver.setup()
        config = {"configurable": {"thread_id": f"busy:{number}"}}
        graph = chats[number].build(saver)
        seen[number] = list(chats[number].run(graph, config, durability="sync"))  # type: ignore[arg-type]

    writers = [threading.Thread(target=talk, args=(number,)) for number in range(BUSY)]
    for writer in writers:
        writer.start()
    retention = Retention(client)
    first = retention.sweep(Policy(keep_last=KEEP))
    for writer in writers:
        writer.join()
    # The child of a checkpoint may have been deleted before a sweep met the checkpoint: that looks
    # like the end of a fork then, and stays for the grace period.
    Retention(client, grace=timedelta(milliseconds=1)).sweep(Policy(keep_last=KEEP))

    assert first.checkpoints_deleted >= THREADS * (EACH - KEEP)
    left: dict[bytes, int] = {}
    for key in client.scan_iter("checkpoint:*", count=1000):
        thread = key.rsplit(b":", 2)[0]
        left[thread] = left.get(thread, 0) + 1
    assert left == dict.fromkeys(left, KEEP)
    assert len(left) == THREADS + BUSY
    # What was said while the sweep ran is what a chat that is never trimmed says.
    assert all(conversation == seen[0] for conversation in seen)
    assert seen[0]
