"""What is installed works: from a wheel and from an editable install, in a fresh environment."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tests.integration.threads import fill_fast
from tests.integration.watching import count_keys
from tests.servers.start import Server

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Environment:
    """A fresh virtual environment, in which all is importable that the tests can import, but
    not redis-retention."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def install(self, *what: str) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install"]
        # Without a network: what it depends on is there already.
        offline = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
        run(*pip, *offline, "--disable-pip-version-check", *what)

    def evaluate(self, expression: str, module: str) -> Path:
        return Path(run(self.python, "-c", f"import {module}; print({module}.{expression})"))

    def trim(self, server: Server) -> dict[str, int]:
        program = self.folder / "bin" / "redis-retention"
        arguments = ["--url", server.url, "trim", "a", "--keep-last", "10", "--json"]
        result: dict[str, int] = json.loads(run(program, *arguments))
        return result


def run(*command: str | Path) -> str:
    """What a command prints; run elsewhere, so that it finds nothing by chance."""
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    made = Environment(tmp_path / "environment")
    venv.create(made.folder, symlinks=True)
    (site_packages,) = made.folder.glob("lib/python*/site-packages")
    # A folder named in a `.pth` file is searched last, and its own `.pth` files are not read:
    # so an editable install in it is not seen.
    paths = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site_packages / "zz_dependencies.pth").write_text("".join(f"{path}\n" for path in paths))
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    run(*build, "--outdir", folder, REPOSITORY)
    (wheel,) = folder.glob("redis_retention-*.whl")
    return wheel


def test_an_installed_wheel_trims(
    environment: Environment, wheel: Path, redis_stack: Server, stack: redis.Redis
) -> None:
    environment.install(str(wheel))
    fill_fast(stack, "a", 36)

    assert environment.trim(redis_stack)["checkpoints_deleted"] == 26
    assert count_keys(stack, "checkpoint") == 10


def test_it_finds_the_scripts_that_it_brought_along(environment: Environment, wheel: Path) -> None:
    environment.install(str(wheel))

    scripts = environment.evaluate("lua_folder()", "redis_retention.scripts")

    assert scripts.is_relative_to(environment.folder)
    packed = {path.relative_to(scripts) for path in scripts.rglob("*.lua")}
    ours = REPOSITORY / "lua"
    assert packed == {path.relative_to(ours) for path in ours.rglob("*.lua")}


def test_it_brings_its_page_along(environment: Environment, wheel: Path) -> None:
    environment.install(str(wheel))

    page = environment.evaluate("_FILE", "redis_retention.http.page")

    assert page.is_relative_to(environment.folder)
    assert page.read_bytes() == (REPOSITORY / "redis_retention/http/page.html").read_bytes()


def test_an_editable_install_trims_with_the_scripts_of_the_checkout(
    environment: Environment, redis_stack: Server, stack: redis.Redis
) -> None:
    environment.install("--editable", str(REPOSITORY))
    fill_fast(stack, "a", 36)

    scripts = environment.evaluate("lua_folder()", "redis_retention.scripts")
    assert scripts.resolve() == REPOSITORY / "lua"
    assert environment.trim(redis_stack)["checkpoints_deleted"] == 26
    assert count_keys(stack, "checkpoint") == 10
