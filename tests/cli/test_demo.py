"""`redis-retention demo`, as somebody who has just installed it runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-c", "from redis_retention.cli import main; main()"]


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_RETENTION_URL", "redis://127.0.0.1:1/0")


def test_what_people_see() -> None:
    ended = subprocess.run(
        [*PROGRAM, "demo"], capture_output=True, encoding="utf-8", check=True, timeout=60
    )
    lines = ended.stdout.splitlines()
    assert ended.stderr == ""
    assert max(map(len, lines)) <= 80
    assert lines[2].startswith("36 checkpoints, 97 keys, ")
    assert "$ redis-retention plan ada --keep-last 10" in lines
    assert sum(line.endswith("retain: last") for line in lines) == 9
    # The reasons of the newest do not fit into its line.
    [newest] = [number for number, line in enumerate(lines) if line.rstrip().endswith("retain:")]
    assert lines[newest + 1].strip() == "last, latest"
    assert any(line.endswith("26 checkpoints deleted (71 keys), 10 retained.") for line in lines)
    assert lines[-1].strip() == "chat  Ada. You told me 24 messages ago."


def test_json() -> None:
    ended = subprocess.run(
        [*PROGRAM, "demo", "--json"], capture_output=True, check=True, timeout=60
    )
    said = json.loads(ended.stdout)
    assert ended.stderr == b""
    before, after = said["before"], said["after"]
    assert (before["checkpoints"], before["keys"]) == (36, 97)
    assert (after["checkpoints"], after["keys"]) == (10, 26)
    assert after["bytes"] < before["bytes"]
    assert said["trim"]["keys_deleted"] == 71
    assert said["state_unchanged"] is True


def test_without_the_extra() -> None:
    code = (
        "import sys; sys.modules['fakeredis'] = None; from redis_retention.cli import main; main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "demo"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: the demo needs a package that is not installed")
    assert "pip install 'redis-retention[demo]'" in ended.stderr
