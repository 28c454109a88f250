"""Runs `redis-retention run` or `listen` as a process of its own, as a supervisor would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds for what takes a fraction of one on an idle machine."""

PROGRAM = [sys.executable, "-c", "from redis_retention.cli import main; main()"]
ROOT = Path(__file__).parents[2]


class Service:
    """The process, as a context manager; it is killed at the end if it still runs."""

    def __init__(
        self, *arguments: str, environment: Mapping[str, str] | None = None, command: str = "run"
    ) -> None:
        self._arguments = [*PROGRAM, command, "--log-format", "json", *arguments]
        self._environment = {**os.environ, **(environment or {})}
        self._folder = tempfile.TemporaryDirectory(prefix="service-")
        self._log = Path(self._folder.name) / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Service:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> Service:
        """Start it, also again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def output(self) -> str:
        """All that it has printed."""
        return self._log.read_text(encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]

    def said(self, beginning: str) -> list[dict[str, Any]]:
        """The log lines whose message begins so."""
        return [line for line in self.lines() if line["message"].startswith(beginning)]

    def wait_for(self, beginning: str, times: int = 1) -> dict[str, Any]:
        """Wait until it has logged something."""
        eventually(lambda: self._has_said(beginning, times), lambda: self.output())
        return self.said(beginning)[-1]

    def _has_said(self, beginning: str, times: int) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with code {self.process.returncode}: {self.output()}")
        return len(self.said(beginning)) >= times


def eventually(
    fulfilled: Callable[[], bool],
    explain: Callable[[], object] = lambda: "",
    patience: float = PATIENCE,
) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + patience
    while not fulfilled():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.02)
