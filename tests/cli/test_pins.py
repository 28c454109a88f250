"""`redis-retention pin`, `unpin` and `pins`."""

from __future__ import annotations

import pytest
import redis

from redis_retention import Policy, Retention
from tests.cli.conftest import Run, documents, fill


def test_a_pinned_checkpoint_is_retained(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 5)
    said = run("pin", "a", ids[1], "--note", "evidence", "--json").json
    place = {"namespace": "", "checkpoint_id": ids[1]}
    assert said == {"thread": "a", **place, "note": "evidence", "pinned": True}
    listed = run("pins", "a", "--json").json
    assert listed == {
        "thread": "a",
        "pins": [{**place, "note": "evidence", "layout": "langgraph-redis"}],
    }
    assert "evidence" in run("pins", "a").out
    run("trim", "a", "--keep-last", "1")
    assert documents(stack, "a") == [ids[1], ids[4]]
    assert run("unpin", "a", ids[1], "--json").json["unpinned"] is True
    assert run("unpin", "a", ids[1]).out == f"Not pinned: checkpoint {ids[1]} of thread a.\n"
    run("trim", "a", "--keep-last", "1")
    assert documents(stack, "a") == [ids[4]]
    assert run("pins", "a").out == "Nothing is pinned of thread a.\n"


def test_a_pinned_thread_is_retained(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 5)
    run("pin", "a")
    assert run("pins", "a", "--json").json["pins"] == [
        {"namespace": None, "checkpoint_id": None, "note": "", "layout": None}
    ]
    assert run("trim", "a", "--keep-last", "1", "--json").json["checkpoints_kept"] == 5


def test_a_checkpoint_of_a_subgraph(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 3, namespace="mem")
    assert run("pin", "a", ids[0]).code == 1
    run("pin", "a", ids[0], "--namespace", "mem")
    assert run("trim", "a", "--keep-last", "1", "--json").json["checkpoints_kept"] == 2


def test_what_is_not_there_cannot_be_pinned(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a:b", 2)
    assert "no checkpoint nope" in run("pin", "a:b", "nope").error
    # The key is the same, the thread is not.
    assert run("pin", "a", ids[0], "--namespace", "b:__empty__").code == 1
    stub = ids[1].replace("1", "2")
    stack.json().set(f"checkpoint:a:b:__empty__:{stub}", "$", {"has_writes": True})
    assert run("pin", "a:b", stub).code == 1
    assert not [key for key in stack.scan_iter() if key.startswith(b"retention:")]


def test_a_namespace_alone_is_no_place(run: Run) -> None:
    assert run("pin", "a", "--namespace", "mem").code == 2


def test_in_python(stack: redis.Redis) -> None:
    ids = fill(stack, "a", 3)
    retention = Retention(stack)
    retention.pin("a", ids[0], note="ü")
    [pin] = retention.pins("a")
    assert (pin.namespace, pin.checkpoint_id, pin.note) == ("", ids[0], "ü")
    assert retention.trim("a", Policy()).checkpoints_kept == 2
    assert retention.unpin("a", ids[0])


def test_the_pins_of_all_threads(run: Run, stack: redis.Redis) -> None:
    assert run("pins", "--all").out == "Nothing is pinned.\n"
    ids = fill(stack, "b", 2)
    run("pin", "b", ids[0])
    run("pin", "a*", "--note", "as a whole")
    whole = {"namespace": None, "checkpoint_id": None, "note": "as a whole", "layout": None}
    one = {
        "namespace": "",
        "checkpoint_id": ids[0],
        "note": "",
        "layout": "langgraph-redis",
    }
    assert run("pins", "--all", "--json").json == {
        "threads": [{"thread": "a*", "pins": [whole]}, {"thread": "b", "pins": [one]}]
    }
    shown = run("pins", "--all").out
    assert "Thread a*" in shown
    assert "as a whole" in shown
    assert list(Retention(stack).all_pins()) == [b"a*", b"b"]


@pytest.mark.parametrize("arguments", [(), ("a", "--all")])
def test_pins_of_one_thread_or_of_all(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("pins", *arguments).code == 2
