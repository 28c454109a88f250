"""Flags, environment and file: the same names, and which counts."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from click.testing import CliRunner

from redis_retention.cli import run as module
from redis_retention.cli.connection import Settings
from redis_retention.cli.serving import Service
from redis_retention.policy import InvalidPolicy, Policy
from redis_retention.service.rules import Options, with_options
from redis_retention.service.schedule import Schedule
from tests.daemon import service as processes
from tests.daemon.writers import Writer, ids
from tests.servers.start import Server


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Service]:
    """Reads a configuration as `redis-retention run` does."""
    for name in ("TRIGGER", "KEEP_LAST", "SWEEP_EVERY", "SWEEP_AT", "TIME_ZONE", "URL"):
        monkeypatch.delenv(f"REDIS_RETENTION_{name}", raising=False)

    def read(*arguments: str, **environment: str) -> Service:
        found: list[Service] = []
        monkeypatch.setattr(module.run, "_serve", lambda options, _: found.append(options))
        result = CliRunner().invoke(
            module.run, arguments, env=environment, obj=Settings(), catch_exceptions=False
        )
        assert found, result.output
        return found[0]

    return read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "retention.toml"
    lines = (
        'url = "redis://file:1/0"',
        "keep-last = 5",
        "trigger = 15",
        'sweep_every = "2h"',
        "verbose = true",
        "keys-per-call = 50",
    )
    path.write_text("\n".join(lines))
    return path


def test_the_file(read: Callable[..., Service], file: Path) -> None:
    service = read("--config", str(file))
    assert service.settings.url == "redis://file:1/0"
    assert service.options.policy is not None
    assert service.options.policy.keep_last == 5
    assert service.options.trigger == 15
    assert service.options.schedule == Schedule(every=timedelta(hours=2))
    assert service.settings.keys_per_call == 50
    assert service.verbose


def test_the_environment_counts_before_the_file_and_flags_before_both(
    read: Callable[..., Service], file: Path
) -> None:
    service = read(
        "--keep-last",
        "7",
        REDIS_RETENTION_CONFIG=str(file),
        REDIS_RETENTION_KEEP_LAST="6",
        REDIS_RETENTION_TRIGGER="16",
        REDIS_RETENTION_URL="redis://environment:1/0",
    )
    assert service.options.policy is not None
    assert service.options.policy.keep_last == 7
    assert service.options.trigger == 16
    assert service.settings.url == "redis://environment:1/0"


def test_without_anything_it_sweeps_every_hour(read: Callable[..., Service]) -> None:
    assert read().options.schedule == Schedule(every=timedelta(hours=1))
    at = read("--sweep-at", "02:30", "--time-zone", "UTC").options.schedule
    assert at == Schedule(at=("02:30",), zone=ZoneInfo("UTC"))


def test_times_to_sweep_at_from_everywhere(read: Callable[..., Service], tmp_path: Path) -> None:
    def times(*arguments: str, **environment: str) -> object:
        schedule = read(*arguments, **environment).options.schedule
        return None if schedule is None else schedule.at

    one, several = tmp_path / "one.toml", tmp_path / "several.toml"
    one.write_text('sweep-at = "02:00"')
    several.write_text('sweep-at = ["02:00", "0 14 * * mon,fri"]')
    assert times("--config", str(one)) == ("02:00",)
    assert times("--config", str(several)) == ("02:00", "0 14 * * mon,fri")
    assert times(REDIS_RETENTION_SWEEP_AT="02:00") == ("02:00",)
    assert times(REDIS_RETENTION_SWEEP_AT="02:00; 0 14 * * mon,fri") == (
        "02:00",
        "0 14 * * mon,fri",
    )
    assert times("--sweep-at", "03:00", REDIS_RETENTION_SWEEP_AT="02:00") == ("03:00",)


def test_the_time_zone_is_that_of_the_process_unless_given(
    read: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    def zone(*arguments: str, **environment: str) -> str:
        schedule = read("--sweep-at", "02:00", *arguments, **environment).options.schedule
        return "" if schedule is None else str(schedule.zone)

    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert zone() == "Asia/Kathmandu"
    assert zone("--time-zone", "Europe/Berlin") == "Europe/Berlin"
    assert zone(REDIS_RETENTION_TIME_ZONE="America/Lima") == "America/Lima"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("keep-lost = 1", "'keep-lost' is not an option"),
        ("keep-last = [1]", "'keep-last' is not an option"),
        ("keep-last = ", "is not TOML"),
        ("keep-last = 0", "0 is not in the range"),
        ('sweep-every = "soon"', "'soon' is not a time"),
        ('sweep-at = "25:00"', "'25:00' is neither a time of day such as 02:00 nor a cron"),
        ('sweep-at = ["02:00", "0 25 * * *"]', "'0 25 * * *' is neither a time of day"),
        ('sweep-at = "0 0 31 2 *"', "bad day-of-month"),
        ("sweep-at = [2]", "'sweep-at' is not an option"),
        ('time-zone = "Mars/Olympus"', "there is no time zone 'Mars/Olympus'"),
        ('time-zone = "../../etc/passwd"', "there is no time zone"),
    ],
)
def test_slips_in_the_file(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "retention.toml"
    path.write_text(text)
    result = CliRunner().invoke(module.run, ["--config", str(path)], obj=Settings())
    assert result.exit_code == 2
    assert complaint in result.output


def run_by(path: Path, server: Server, **options: Any) -> processes.Service:
    return processes.Service("--url", server.url, "--config", str(path), **options)


def test_sighup_reads_the_file_again(
    redis_stack: Server, stack: redis.Redis, tmp_path: Path
) -> None:
    path = tmp_path / "retention.toml"
    path.write_text("keep-last = 5\ntrigger = 100\n")
    writer = Writer(redis_stack.client(), ["a"])
    with run_by(path, redis_stack) as running:
        running.wait_for("ready")
        path.write_text("keep-last = five\n")
        running.send(signal.SIGHUP)
        running.wait_for("kept the old configuration")
        path.write_text("keep-last = 2\ntrigger = 4\n")
        running.send(signal.SIGHUP)
        running.wait_for("policies changed")
        writer.write(20)
        processes.eventually(lambda: len(ids(stack, "a")) <= 4)


def test_what_cannot_work_ends_at_once_with_one_line(redis_stack: Server) -> None:
    for words, code in (
        (("--url", "redis://127.0.0.1:1/0", "--keep-last", "1", "--trigger", "3"), 1),
        (("--url", redis_stack.url), 1),
        (("--url", redis_stack.url, "--keep-last", "5", "--trigger", "3"), 2),
        (("--url", redis_stack.url, "--keep-last", "none"), 2),
        (("--url", redis_stack.url, "--keep-last", "1", "--sweep-at", "* * *"), 2),
    ):
        with processes.Service(*words) as running:
            assert running.process.wait(processes.PATIENCE) == code
            [line] = running.output().splitlines()
            assert line.startswith("error: ")


def test_the_listener_alone_needs_a_trigger_and_events(
    started: Callable[..., Server],
) -> None:
    server = started("redis-stack", config={"rename-command": "CONFIG none"})
    for words, code in (
        (("--keep-last", "1"), 2),
        (("--keep-last", "1", "--trigger", "3"), 1),
    ):
        with processes.Service("--url", server.url, *words, command="listen") as running:
            assert running.process.wait(processes.PATIENCE) == code
            assert running.output().splitlines()[-1].startswith("error: ")


def test_a_policy_must_not_keep_more_than_its_trigger() -> None:
    with pytest.raises(InvalidPolicy):
        with_options((), Options(Policy(keep_last=3), trigger=2))
