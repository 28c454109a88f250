"""Drives ``graphs.mjs``: real graphs of LangGraph.js, one process for many commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.langgraph_js.fetch import LangGraphJsPackages

_PROGRAM = Path(__file__).with_name("graphs.mjs")

OnPause = Callable[[str], None]


class LangGraphJsError(Exception):
    """A command failed in JavaScript; the message is its stack."""


class Program:
    """The program, running; its modules are found beside a copy of it."""

    def __init__(self, packages: LangGraphJsPackages) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="langgraph-js-")
        folder = Path(self._folder.name)
        shutil.copy(_PROGRAM, folder)
        (folder / "node_modules").symlink_to(packages.modules, target_is_directory=True)
        self._process = subprocess.Popen(
            [str(packages.node), _PROGRAM.name],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._port: int | None = None

    def connect(self, port: int) -> None:
        """Let the saver use the server at a port of this machine."""
        if self._port == port:
            return
        if self._port is not None:
            self.do("disconnect")
        self.do("connect", port=port)
        self._port = port

    def do(self, command: str, on_pause: OnPause | None = None, /, **given: Any) -> Any:
        """Run one command, and return what it answers.

        Args:
            command: One of those at the end of the program.
            on_pause: Is called in between: after a ``put``, after ``writes``, and before the
                ``document`` of a put whose blobs are written.
            given: What the command takes.

        Raises:
            LangGraphJsError: It failed.
        """
        reply = self._ask({"do": command, "pausing": on_pause is not None, **given})
        while "paused" in reply:
            if on_pause is not None:
                on_pause(reply["paused"])
            reply = self._ask({})
        if "error" in reply:
            raise LangGraphJsError(reply["error"])
        return reply["answer"]

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise LangGraphJsError("the program has ended; what it said is on standard error")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.cleanup()
