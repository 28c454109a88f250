"""The user of docs/deploy/users.acl can do everything, and nothing but what is written there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import POLICY
from tests.daemon.service import PROGRAM, ROOT, Service, eventually
from tests.daemon.writers import Writer, ids, shrunk
from tests.servers.start import Server

ACL = Path(ROOT, "docs", "deploy", "users.acl").read_text(encoding="utf-8")


def login(server: Server, client: Any, user: str) -> str:
    """Make a user as in the file, and return the URL to log in by."""
    [rules] = re.findall(rf"^user {user} (.*)$", ACL, re.MULTILINE)
    words = [">secret" if rule.startswith("#") else rule for rule in rules.split()]
    client.execute_command("ACL", "SETUSER", user, "reset", *words)
    return server.url.replace("redis://", f"redis://{user}:secret@")


def command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [*PROGRAM, "--url", url, *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_user_may_do_everything(
    server: Server, client: Any, service: Callable[..., Service]
) -> None:
    client.execute_command("ACL", "LOG", "RESET")
    url = login(server, client, "retention")
    client.config_set("notify-keyspace-events", "")
    writer = Writer(server.client(), ["a", "b"])
    service(url, *POLICY, "--metrics-port", "0").wait_for("ready")
    writer.write(40)
    eventually(lambda: shrunk(client, writer, 30))
    for words in (
        ("plan", "a", "--keep-last", "3"),
        ("trim", "a", "--keep-last", "3"),
        ("policy", "set", "a*", "--keep-last", "2"),
        ("policy", "remove", "a*"),
        ("pin", "a"),
        ("unpin", "a"),
        ("stats",),
        ("sweep", "--keep-last", "2", "--dry-run"),
        ("sweep", "--keep-last", "2"),
    ):
        done = command(url, *words)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert len(ids(client, "a")) == len(ids(client, "b")) == 2
    checks = json.loads(command(url, "doctor", "--json").stdout)
    assert checks["ok"], checks
    denied = client.execute_command("ACL", "LOG")
    assert not denied


@pytest.mark.parametrize("lacking", ["+unlink", "+zadd", "+json.get", "+evalsha"])
def test_the_doctor_names_what_is_not_allowed(
    redis_stack: Server, stack: Any, lacking: str
) -> None:
    url = login(redis_stack, stack, "retention")
    stack.config_set("notify-keyspace-events", "Kdgx")
    stack.execute_command("ACL", "SETUSER", "retention", "-" + lacking[1:])
    done = command(url, "doctor", "--json")
    assert done.returncode == 1, done.stderr
    found = [check["found"] for check in json.loads(done.stdout)["checks"] if check["mend"]]
    assert any(lacking[1:] in text.lower() for text in found), found
