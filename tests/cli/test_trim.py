"""`redis-retention trim`."""

from __future__ import annotations

import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from tests.cli.conftest import Run, documents, fill

KEYS = [
    "threads",
    "threads_trimmed",
    "checkpoints_deleted",
    "checkpoints_kept",
    "keys_deleted",
    "dry_run",
    "elapsed_ms",
    "left_alone",
    "threads_refused",
    "bytes_deleted",
    "layouts",
]


def test_json_says_exactly_what_happened(run: Run, stack: redis.Redis) -> None:
    ids = fill(stack, "a", 12)
    fill(stack, "b", 3)
    before = stack.dbsize()
    said = run("trim", "a", "b", "nobody", "--keep-last", "5", "--json").json
    gone = before - sum(not key.startswith(b"retention:") for key in stack.scan_iter())
    assert list(said) == KEYS
    assert said.pop("elapsed_ms") > 0
    assert said == {
        "threads": 3,
        "threads_trimmed": 1,
        "checkpoints_deleted": 7,
        "checkpoints_kept": 8,
        "keys_deleted": gone,
        "dry_run": False,
        "left_alone": [],
        "threads_refused": 0,
        "bytes_deleted": None,
        "layouts": {
            "langgraph-redis": {
                "threads": 2,
                "threads_trimmed": 1,
                "checkpoints_deleted": 7,
                "checkpoints_kept": 8,
                "keys_deleted": gone,
            }
        },
    }
    assert documents(stack, "a") == ids[-5:]


def test_dry_run_says_the_same_and_changes_nothing(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 12)
    before = stack.dbsize()
    would = run("trim", "a", "--keep-last", "5", "--dry-run", "--json").json
    assert stack.dbsize() == before
    did = run("trim", "a", "--keep-last", "5", "--json").json
    del would["elapsed_ms"], did["elapsed_ms"]
    assert would == {**did, "dry_run": True}


@pytest.mark.parametrize("where", [[], ["--scan"], ["--indexed-only"], ["--dry-run"]])
def test_a_thread_that_fails_costs_the_others_nothing(
    run: Run, stack: redis.Redis, where: list[str]
) -> None:
    fill(stack, "b", 12)
    run("sweep", "--keep-last", "12")
    fill(stack, "a", 12)
    stack.set("retention:index:checkpoint:a", "not an index")
    said, error = run("trim", "a", "b", "--keep-last", "5", "--json", *where).json_and_error
    assert (said["threads"], said["threads_refused"], said["checkpoints_deleted"]) == (2, 1, 7)
    assert [left["thread"] for left in said["left_alone"]] == ["a"]
    assert error.startswith("1 of 2 threads could not be trimmed: ")


def test_people_get_a_sentence(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 12)
    dry = run("trim", "a", "--keep-last", "5", "--dry-run").out
    assert dry.startswith("Dry run, 1 thread in ")
    assert dry.endswith(": 7 checkpoints would be deleted (28 keys), 5 would be retained.\n")
    done = run("trim", "a", "--keep-last", "5").out
    assert done.endswith(": 7 checkpoints deleted (28 keys), 5 retained.\n")
    again = run("trim", "a", "--keep-last", "5").out
    assert again.endswith(": nothing to delete, 5 checkpoints retained.\n")
    nobody = run("trim", "nobody", "--keep-last", "5").out
    assert nobody.endswith(": nothing to delete, there are no checkpoints.\n")


def test_the_index_alone(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 4)
    unknown = run("trim", "a", "--keep-last", "1", "--indexed-only", "--json").json
    assert unknown["checkpoints_deleted"] == 0
    run("trim", "a", "--keep-last", "3")
    known = run("trim", "a", "--keep-last", "1", "--indexed-only", "--json").json
    assert known["checkpoints_deleted"] == 2


def test_ids_from_standard_input_byte_for_byte(run: Run, stack: redis.Redis) -> None:
    names = ["a", " b ", "ü\r", "-", "c*"]
    for name in [*names, "b", "cd"]:
        fill(stack, name, 2)
    lines = "\n".join([*names[:3], "", *names[3:]]).encode()
    said = run("trim", "-", "--keep-last", "1", "--json", stdin=lines).json
    assert (said["threads"], said["threads_trimmed"]) == (5, 5)
    assert len(documents(stack, "b")) == len(documents(stack, "cd")) == 2


def test_no_ids_on_standard_input_are_no_error(run: Run) -> None:
    assert run("trim", "-", "--keep-last", "1", "--json").json["threads"] == 0


def test_any_byte_string_is_an_id(run: Run, stack: redis.Redis) -> None:
    names = ["wang1:2025", "two\nlines", "--json", "[x]", "\x1b[31m", "\\", "\udcff\udcfe"]
    for name in names[:-1]:
        fill(stack, name, 2)
    said = run("trim", "--keep-last", "1", "--json", "--", *names).json
    assert (said["threads"], said["threads_trimmed"]) == (7, 6)


def test_a_thread_that_is_not_understood_is_left_alone(run: Run, stack: redis.Redis) -> None:
    [odd, *_] = fill(stack, "a", 4)
    stack.json().set(f"checkpoint:a:__empty__:{odd}", "$.metadata", 7)
    said = run("trim", "a", "--keep-last", "1", "--json").json
    assert said["checkpoints_deleted"] == 0
    assert [left["thread"] for left in said["left_alone"]] == ["a"]
    assert "Left alone: a: " in run("trim", "a", "--keep-last", "1").out


def test_other_prefixes(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 3)
    options = "--checkpoint-prefix", "app", "--write-prefix", "app_write", "--prefix", "mine:"
    said = run(*options, "trim", "a", "--keep-last", "1", "--json").json
    assert said["checkpoints_kept"] == 0
    run("trim", "a", "--keep-last", "2", "--prefix", "mine:")
    assert list(stack.scan_iter("*index*")) == [b"mine:index:checkpoint:a"]


def test_smaller_calls(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 12)
    assert run("plan", "a", "--keep-last", "5").code == 0

    def calls(thread: str, *options: str) -> int:
        before = stack.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
        assert run("trim", thread, "--keep-last", "5", *options).code == 0
        return int(stack.info("commandstats")["cmdstat_evalsha"]["calls"] - before)

    at_once = calls("a")
    fill(stack, "b", 12)
    assert calls("b", "--keys-per-call", "10") > at_once
    assert len(documents(stack, "b")) == 5


def test_the_options_of_the_program_may_stand_before_the_command(run: Run) -> None:
    assert run("--json", "trim", "a", "--keep-last", "1").json["threads"] == 1


def test_every_policy_option(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 7)

    def kept(*options: str) -> int:
        said = run("trim", "a", "--dry-run", "--json", *options).json
        number: int = said["checkpoints_kept"]
        return number

    assert kept("--keep-last", "3") == 3
    assert kept("--keep-within", "1h") == 7
    assert kept("--keep-runs", "2") == 2
    assert kept("--expire-threads-after", "30d") == 7
    assert kept("--keep-last", "2", "--expire-threads-after", "30d") == 2


def test_a_look_at_the_whole_database_is_explained(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 4)
    done = run("trim", "a", "--keep-last", "1", "--json")
    assert done.json["checkpoints_deleted"] == 3
    assert done.err.startswith("looking at all ")
    assert done.err.endswith("RedisSaver.setup() makes it\n")
    assert done.err.count("\n") == 1


def test_a_look_that_was_asked_for_is_not_explained(run: Run, stack: redis.Redis) -> None:
    fill(stack, "a", 4)
    for command in ("plan", "trim"):
        assert run(command, "a", "--keep-last", "1", "--scan").err == ""


def test_nothing_is_explained_where_a_search_is_possible(run: Run, stack: redis.Redis) -> None:
    RedisSaver(redis_client=stack).setup()
    fill(stack, "a", 4)
    done = run("trim", "a", "--keep-last", "1", "--json")
    assert done.json["checkpoints_deleted"] == 3
    assert done.err == ""


def test_only_one_way_to_look(run: Run) -> None:
    error = run("trim", "a", "--keep-last", "1", "--scan", "--indexed-only").error
    assert error.startswith("--indexed-only and --scan do not go together")


def test_a_sweep_says_the_same_fields_also_when_a_thread_fails(
    run: Run, stack: redis.Redis
) -> None:
    for thread in ("a", "b"):
        fill(stack, thread, 5)
    stack.set("retention:index:checkpoint:a", "somebody's")
    said = run("sweep", "--keep-last", "2", "--json").json
    assert (said["threads_refused"], said["checkpoints_deleted"]) == (1, 3)
    assert said["left_alone"][0]["thread"] == "a"
    assert said.keys() == run("trim", "b", "--keep-last", "2", "--json").json.keys()
