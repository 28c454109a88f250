"""What docs/deploy says can be said and done: what can run here is run."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from redis_retention.cli import COMMANDS
from redis_retention.cli import run as module
from redis_retention.cli.connection import Settings
from redis_retention.cli.http import TOKEN_VARIABLE
from tests.daemon.service import PROGRAM, ROOT
from tests.daemon.writers import Writer, ids
from tests.servers.start import Server

DEPLOY = ROOT / "docs" / "deploy"
OPERATIONS = ROOT / "docs" / "operations.md"


def options_of_run() -> set[str]:
    return {name for option in module.run.params for name in option.opts if name.startswith("--")}


def read_toml(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read it as `redis-retention run --config` does."""
    path = folder / "redis-retention.toml"
    path.write_text(text, encoding="utf-8")
    found: list[Any] = []
    monkeypatch.setattr(module.run, "_serve", lambda options, _: found.append(options))
    result = CliRunner().invoke(module.run, ["--config", str(path)], obj=Settings())
    assert result.exit_code == 0, result.output
    assert found[0].options.policy.keep_last == 10


def test_the_toml_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DEPLOY / "redis-retention.toml").read_text(encoding="utf-8")
    read_toml(text, tmp_path, monkeypatch)


def test_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
    by_kind = {document["kind"]: document for document in documents}
    [(name, text)] = by_kind["ConfigMap"]["data"].items()
    [container] = by_kind["Deployment"]["spec"]["template"]["spec"]["containers"]
    secrets = by_kind["Secret"]["stringData"]
    for one in container["env"]:
        monkeypatch.setenv(one["name"], secrets[one["valueFrom"]["secretKeyRef"]["key"]])
    read_toml(text, tmp_path, monkeypatch)
    [mount] = container["volumeMounts"]
    assert container["args"] == ["run", "--config", f"{mount['mountPath']}/{name}"]


def test_compose() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
    names = set(services["retention"]["environment"])
    assert TOKEN_VARIABLE in names
    for name in names - {TOKEN_VARIABLE}:
        option = name.removeprefix("REDIS_RETENTION_").lower().replace("_", "-")
        assert f"--{option}" in options_of_run()
    build = services["retention"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


def test_the_unit() -> None:
    unit = (DEPLOY / "redis-retention.service").read_text(encoding="utf-8")
    [words] = re.findall(r"^ExecStart=\S+ run (.*)$", unit, re.MULTILINE)
    assert {word for word in words.split() if word.startswith("--")} <= options_of_run()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = (DEPLOY / "redis-retention.service").read_text(encoding="utf-8")
    path = tmp_path / "redis-retention.service"
    path.write_text(unit.replace("/usr/local/bin/redis-retention", "/bin/true"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )
    assert "redis-retention" not in done.stderr


def test_the_line_of_cron_sweeps(redis_stack: Server, stack: redis.Redis) -> None:
    Writer(stack, ["a"]).write(15)
    lines = (DEPLOY / "crontab").read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line[:1].isdigit()]
    minute, hour, day, month, weekday, user, command = line.split(maxsplit=6)
    # The rest of the line goes to a shell that has hardly any environment.
    command = command.replace("/usr/local/bin/redis-retention", shlex.join(PROGRAM))
    environment = {"REDIS_RETENTION_URL": redis_stack.url, "PATH": "/usr/bin:/bin"}

    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(ids(stack, "a")) == 10
    assert [minute.isdigit(), hour, day, month, weekday, user] == [True, *"****", "nobody"]


def test_everything_that_is_mentioned_is_a_command() -> None:
    text = OPERATIONS.read_text(encoding="utf-8")
    commands = set(re.findall(r"`redis-retention ([a-z]+)", text))
    assert commands <= {*COMMANDS, "sweep"}
