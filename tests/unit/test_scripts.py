"""The loader of the Lua scripts."""

from __future__ import annotations

import hashlib

import pytest

from redis_retention.scripts import load, lua_folder, module_name

SCRIPTS = sorted(
    f"{folder}{file.name}".removesuffix(".lua")
    for folder in ("", "index/", "sweep/", "savers/")
    for file in lua_folder().joinpath(folder).iterdir()
    if file.name.endswith(".lua")
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_known_by_the_sha1_of_what_is_sent(name: str) -> None:
    script = load(name, "langgraph_redis")
    assert script.sha == hashlib.sha1(script.text.encode()).hexdigest()


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_include_is_left_to_the_server(name: str) -> None:
    assert "--@include" not in load(name, "langgraph_redis").text


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_does_and_what_it_touches(name: str) -> None:
    header = load(name, "langgraph_redis").text.split("\nlocal ", 1)[0]
    assert header.startswith("-- ")
    for part in ("KEYS", "ARGV", "Reply"):
        assert part in header


@pytest.mark.parametrize(
    ("path", "name"),
    [("include/index.lua", "index"), ("layouts/langgraph_redis.lua", "layout")],
)
def test_a_module_is_called_like_its_file_and_a_layout_is_the_layout(path: str, name: str) -> None:
    assert module_name(path) == name


def test_a_script_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        load("nothing", "langgraph_redis")
