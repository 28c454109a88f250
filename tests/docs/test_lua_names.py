"""What the documentation says of the Lua exists there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LUA = ROOT / "lua"
PAGES = ["how-it-works.md", "guarantees.md"]
MODULES = {path.stem: path.read_text() for path in LUA.glob("include/*.lua")}
LAYOUT = (LUA / "layouts/README.md").read_text()


def qualified(page: str) -> list[tuple[str, str]]:
    """Modules and functions, as in `deletion.run`."""
    text = (ROOT / "docs" / page).read_text()
    named = re.findall(r"`(\w+)\.(\w+)`", text)
    known = {*MODULES, "layout"}
    return [(module, name) for module, name in named if module in known and name != "lua"]


def placed(page: str) -> list[tuple[str, str]]:
    """Functions and their modules, as in `carry_out` in `batches`."""
    text = (ROOT / "docs" / page).read_text()
    return [(module, name) for name, module in re.findall(r"`(\w+)`\s+in\s+`(\w+)`", text)]


@pytest.mark.parametrize("page", PAGES)
def test_a_function_that_is_named_exists(page: str) -> None:
    names = qualified(page)
    assert names
    for module, name in names:
        if module == "layout":
            assert f"`layout.{name}(" in LAYOUT, name
        elif name.isupper():
            assert f"{module}.{name}" in MODULES[module]
        else:
            text = MODULES[module]
            assert re.search(rf"(function {module}\.|function self\.|{module}\.){name}\b", text), (
                name
            )


@pytest.mark.parametrize("page", PAGES)
def test_it_is_where_the_page_says(page: str) -> None:
    for module, name in placed(page):
        assert re.search(rf"(local function |\.){name}\b", MODULES[module]), name


@pytest.mark.parametrize("page", PAGES)
def test_a_script_that_is_named_exists(page: str) -> None:
    for name in re.findall(r"`([\w/]+\.lua)`", (ROOT / "docs" / page).read_text()):
        places = (LUA, LUA / "include", ROOT)
        assert any((place / name).exists() for place in places), name
