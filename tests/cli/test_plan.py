"""`redis-retention plan`."""

from __future__ import annotations

import redis

from tests.cli.conftest import Run, fill


def test_json(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 5)
    before = stack.dbsize()
    said = run("plan", "a", "--keep-last", "2", "--json").json
    assert stack.dbsize() == before
    checkpoints = said.pop("checkpoints")
    sizes = [one["size"] for one in checkpoints]
    assert said == {
        "thread": "a",
        "checkpoints_kept": 2,
        "checkpoints_deleted": 3,
        "keys_deleted": 12,
        "bytes_deleted": sum(sizes[:3]),
        "left_alone": None,
        "layouts": ["langgraph-redis"],
    }
    assert [one["checkpoint_id"] for one in checkpoints] == ids
    assert [one["kept"] for one in checkpoints] == [False] * 3 + [True] * 2
    first, last = checkpoints[0], checkpoints[-1]
    assert list(first) == [
        "namespace",
        "checkpoint_id",
        "created",
        "age_seconds",
        "step",
        "source",
        "size",
        "kept",
        "reasons",
        "keys",
        "layout",
    ]
    assert (first["namespace"], first["step"], first["source"]) == ("", 0, "input")
    assert (first["reasons"], first["keys"]) == ([], 4)
    assert (last["reasons"], last["keys"]) == (["last", "latest"], 0)
    assert 0 <= last["age_seconds"] < 60


def test_what_the_plan_says_the_trim_does(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 9)
    options = "a", "--keep-last", "2", "--keep-runs", "2", "--json"
    plan = run("plan", *options).json
    trim = run("trim", *options).json
    for number in ("checkpoints_kept", "checkpoints_deleted", "keys_deleted"):
        assert plan[number] == trim[number]


def test_the_table_in_a_pipe_has_the_ids_whole(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 3)
    fill(stack, "a", 1, namespace="a-subgraph-with-quite-a-long-name|and-another-one-within-it")
    lines = run("plan", "a", "--keep-last", "1").out.splitlines()
    [oldest] = [line for line in lines if ids[0] in line]
    [newest] = [line for line in lines if ids[-1] in line]
    [inner] = [line for line in lines if "quite-a-long-name|and-another-one-within-it" in line]
    assert oldest.rstrip().endswith("delete")
    assert newest.rstrip().endswith("retain: last, latest")
    assert inner.rstrip().endswith("retain: last, latest")
    assert max(map(len, lines)) < 200
    assert lines[-1].startswith("2 checkpoints are retained, 2 deleted, with 8 keys and ")
    assert any("LangGraph resumes from it" in line for line in lines)


def test_a_thread_that_does_not_exist(run: Run) -> None:
    assert run("plan", "nobody", "--keep-last", "1").out == "Thread nobody has no checkpoints.\n"
    said = run("plan", "nobody", "--keep-last", "1", "--json").json
    assert (said["checkpoints"], said["bytes_deleted"]) == ([], 0)


def test_an_id_cannot_write_to_the_terminal(run: Run) -> None:
    assert "\\x1b[31m" in run("plan", "\x1b[31m", "--keep-last", "1").out


def test_pins_and_their_notes(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 3)
    run("pin", "a", ids[0], "--note", "the good answer")
    assert "retain: pinned (the good answer)" in run("plan", "a", "--keep-last", "1").out
    run("pin", "a", "--note", "evidence")
    assert run("plan", "a", "--keep-last", "1").out.count("pinned (evidence)") == 2
