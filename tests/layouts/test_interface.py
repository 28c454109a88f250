"""The interface of a layout as ``lua/layouts/README.md`` has it, held against the Lua."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime

import redis_retention
from redis_retention.layouts import (
    LangGraphGo,
    LangGraphJs,
    LangGraphRedis,
    Layout,
    PlainRedis,
    SortedSets,
)
from redis_retention.scripts import lua_folder, module_source
from tests.layouts.tiny import Tiny

LUA = Path(str(lua_folder()))
README = (LUA / "layouts/README.md").read_text()


def named_in(text: str) -> set[str]:
    return set(re.findall(r"^\| `layout\.(\w+)\(", text, re.M))


QUESTIONS = named_in(README)
OPTIONAL = named_in(README.partition("## Copies and runs")[2])
ASKING = sorted(set(LUA.rglob("*.lua")) - set(LUA.glob("layouts/**/*.lua")))
LAYOUTS: list[tuple[str, Layout]] = [
    ("layouts/langgraph_redis.lua", LangGraphRedis()),
    ("layouts/plainredis.lua", PlainRedis()),
    (Tiny.name, Tiny()),
]
PACKAGE = Path(redis_retention.__file__).parent
PYTHON = sorted(set(PACKAGE.rglob("*.py")) - set(PACKAGE.glob("layouts/*.py")))
LISTING = README.partition("## Formats that list their checkpoints")[2].partition("\n## ")[0]
WITH_LISTS: list[Layout] = [LangGraphGo(), SortedSets()]


def constants(path: Path) -> list[str]:
    """The texts in a Python file, docstrings left out."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    values = [node.value for node in nodes if id(node) not in docstrings]
    return [v.decode() if isinstance(v, bytes) else v for v in values if isinstance(v, str | bytes)]


def functions_of(path: str, layout: Layout) -> set[str]:
    lua = LuaRuntime()
    lua.execute("redis = {}")
    answers: Any = lua.execute(module_source(path, layout.name))
    return {name for name in answers if callable(answers[name])}


@pytest.mark.parametrize(("path", "layout"), LAYOUTS)
def test_a_layout_answers_each_question(path: str, layout: Layout) -> None:
    assert functions_of(path, layout) >= QUESTIONS - OPTIONAL


@pytest.mark.parametrize("layout", WITH_LISTS, ids=lambda layout: layout.name)
def test_one_that_lists_its_checkpoints_answers_those_for_lists(layout: Layout) -> None:
    also = re.findall(r"`(\w+)`", LISTING.partition("it answers")[2].partition("none of")[0])
    assert also
    may_be_left_out = {"run_start"}
    answered = functions_of(f"layouts/{layout.name}.lua", layout)
    assert answered | may_be_left_out == named_in(LISTING) | {*also}


@pytest.mark.parametrize("path", ASKING, ids=lambda path: path.name)
def test_all_else_asks_no_other(path: Path) -> None:
    asked = set(re.findall(r"\blayout\.(\w+)", path.read_text()))
    assert asked <= QUESTIONS


@pytest.mark.parametrize("path", ASKING, ids=lambda path: path.name)
def test_nothing_outside_a_layout_knows_how_the_saver_stores(path: Path) -> None:
    code = re.sub(r"--.*", "", path.read_text())
    for secret in ("JSON.", "__empty__", "write_keys_zset", "_latest:", "checkpoint_id", "cjson"):
        assert secret not in code


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: path.name)
def test_nothing_in_python_outside_the_layouts_knows_either(path: Path) -> None:
    for text in constants(path):
        for secret in ("__empty__", "write_keys_zset", "_latest:", "checkpoint_blob"):
            assert secret not in text


@pytest.mark.parametrize(
    "layout",
    [*(layout for _, layout in LAYOUTS), LangGraphJs(), *WITH_LISTS],
    ids=lambda layout: layout.name,
)
def test_checkpoints_of_two_threads_are_not_in_one_place(layout: Layout) -> None:
    def place(thread: bytes) -> bytes:
        lists = layout.lists_of(thread)
        return layout.split(lists[0] if lists else layout.checkpoint_key(thread, b"", b"1"))[0]

    assert place(b"a") != place(b"b")


def test_each_question_is_asked() -> None:
    asked = {name for path in ASKING for name in re.findall(r"\blayout\.(\w+)", path.read_text())}
    assert asked >= QUESTIONS
