"""What the documentation says is so: options, links, names of tests, the example in the README."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
import redis
from langgraph.checkpoint.redis import RedisSaver

from redis_retention.cli import main
from tests.integration.threads import fill
from tests.servers.start import Server

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
COMMAND_LINE = DOCS / "command-line.md"
GUARANTEES = DOCS / "guarantees.md"
PAGES = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_OPTION = re.compile(r"^- `(--[a-z-]+)", re.MULTILINE)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", text_of(page))


# --- the command line -----------------------------------------------------------------------


def sections() -> dict[str, str]:
    """The sections of the page by their title, without code blocks."""
    parts = re.split(r"^## (.+)$", prose(COMMAND_LINE), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


COMMANDS = dict(commands())


def options(command: click.Command) -> set[str]:
    given = (option for option in command.params if isinstance(option, click.Option))
    names = {name for option in given for name in option.opts if name.startswith("--")}
    return names - {"--help"}


def documented(title: str) -> set[str]:
    """The options in a section, and in the sections of options that it names."""
    section = sections()[title]
    own = set(_OPTION.findall(section))
    for shared in re.findall(r"\]\(#([a-z]+)-options\)", section):
        own |= set(_OPTION.findall(sections()[f"{shared.capitalize()} options"]))
    return own


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    expected = options(COMMANDS[name])
    # The page says of these once that all commands but one take them.
    shared = set() if name == "demo" else documented("Global options") - {"--version"}
    assert documented(name) | shared == expected


def test_the_options_of_the_program_are_documented_and_no_other() -> None:
    assert documented("Global options") == options(main)


def test_every_section_is_about_a_command_or_its_options() -> None:
    titles = {title for title in sections() if not title.endswith(" options")}
    assert titles == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_is_shown_can_be_parsed(page: Path) -> None:
    for words in re.findall(r"^\$ redis-retention (.+)$", text_of(page), re.MULTILINE):
        found = [name for name in COMMANDS if re.search(rf"(^|\s){name}(\s|$)", words)]
        assert found, words
        known = set().union(*(options(COMMANDS[name]) for name in found))
        assert set(re.findall(r"(?<!\S)--[a-z-]+", words)) <= known, words


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_an_example(name: str) -> None:
    [section] = re.findall(
        rf"^## {name}$(.*?)(?=^## |\Z)", text_of(COMMAND_LINE), re.MULTILINE | re.DOTALL
    )
    assert re.search(rf"^\$ redis-retention {name}\b", section, re.MULTILINE)


def test_the_readme_is_read_in_one_go() -> None:
    assert len(text_of(README).splitlines()) < 150


# --- the example ----------------------------------------------------------------------------


def test_the_example_in_the_readme_runs(
    redis_stack: Server, stack: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    saver = RedisSaver(redis_client=stack)
    saver.setup()
    fill(saver, "my-thread", 36)
    examples = re.findall(r"^```python\n(.*?)^```$", text_of(README), re.MULTILINE | re.DOTALL)
    [example] = [one for one in examples if "Retention(" in one]
    assert len([line for line in example.splitlines() if line]) == 5
    url = "redis://localhost:6379/0"
    assert url in example

    names: dict[str, object] = {}
    exec(compile(example.replace(url, redis_stack.url), str(README), "exec"), names)

    assert capsys.readouterr().out == "26 checkpoints deleted, 10 retained\n"
    client = names["retention"]._client  # type: ignore[attr-defined]
    client.close()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_examples_in_python_are_python(page: Path) -> None:
    for example in re.findall(r"^```python\n(.*?)^```$", text_of(page), re.MULTILINE | re.DOTALL):
        ast.parse(example)


# --- links and names ------------------------------------------------------------------------


@cache
def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_test_that_is_named_exists() -> None:
    mentioned = re.findall(r"`(tests/[\w/]+\.(?:py|md))(?:::(\w+))?`", text_of(GUARANTEES))
    assert len(mentioned) > 40
    for path, name in mentioned:
        assert (ROOT / path).is_file(), path
        if name:
            assert re.search(rf"^ *(?:async )?def {name}\b", text_of(ROOT / path), re.MULTILINE), (
                name
            )


def test_every_rule_names_what_holds_it() -> None:
    rules = re.split(r"^## \d\. ", text_of(GUARANTEES), flags=re.MULTILINE)[1:]
    assert len(rules) == 9
    for rule in rules:
        for part in ("**Rule.**", "**Why.**", "**How.**", "**Tests.**"):
            assert part in rule, rule.splitlines()[0]


def test_every_graph_that_is_named_exists() -> None:
    scenarios = text_of(ROOT / "tests" / "graphs" / "scenarios.py")
    for sentence in re.findall(r"[Tt]he graphs (.*?)\sin\b", text_of(GUARANTEES), re.DOTALL):
        for name in re.findall(r"`(\w+)`", sentence):
            assert f"class {name}(Scenario)" in scenarios, name


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.svg")), ids=named)
def test_pictures_ask_nobody(page: Path) -> None:
    ElementTree.parse(page)
    assert "@font-face" not in text_of(page)
    assert "@import" not in text_of(page)
